"""egs/asterisk: from the packages' layout to data folders, on a small tree of the same shape and on the real packages."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recipe_tree import tasks_of

from speechrep.data.folder import DataFolder

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "egs/asterisk/local"
VOICES = {"en": "en_US_f_Allison", "es": "es_MX_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo",
          "ru": "ru_RU_f_IvrvoiceRU"}
COLOURS = {"en": "red green blue white black brown", "es": "rojo verde azul blanco negro pardo",
           "fr": "rouge vert bleu blanc noir brun", "it": "rosso verde blu bianco nero bruno",
           "ru": "красный зелёный синий белый чёрный бурый"}
TRANSCRIPTS = {
    "en": {"vm-intro": "Please leave your message.  (simple tone sound plays)", "beep": "[this is a simple beep tone]",
           "silence/1": "(1 second of silence)", "digits/7": "seven", "dictate/both_help": "press * or #",
           "vm-again": "Seven!", "copy": "copied", "copy2": "copied"},
    "es": {"digits/0": "cero", "digits/1f": "una", "auth-incorrect": "Contrasena incorrecta", "dir-welcome": ""},
    "fr": {"vm-youhave": "Vous avez 2 messages."},
    "it": {"conf-full": "La conferenza ? piena.", "vm-odd": "La porta ? chiusa.", "beeperr": "un suono beep di errore"},
    "ru": {"conf-adminmenu": "conf-adminmenu: Нажмите 1", "vm-isonphone": "занят"},
}
EXTRA_WAVS = {"es": ["digits/10", "digits/1F", "letters/ascii34"]}


def script(name, *arguments, environment=None):
    command = [sys.executable, str(LOCAL / name)] if name.endswith(".py") else ["bash", str(LOCAL / name)]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {})
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=env, timeout=600)


def make_tree(root, named=VOICES):
    """A tree like the unpacked packages': 24 prompts a language beside the ones that are looked at, 1 s of noise each."""
    generator = np.random.default_rng(3)
    for lang, folder in named.items():
        words = COLOURS[lang].split()
        texts = dict(TRANSCRIPTS[lang])
        texts.update({f"colours/{i}-{j}": f"{words[i]} {words[j]}." for i in range(6) for j in range(6)})
        doc = root / f"usr/share/doc/asterisk-core-sounds-{lang}"
        doc.mkdir(parents=True)
        lines = [f"; Core Asterisk Sounds ({lang})", ""] + [f"{name}: {text}" for name, text in texts.items()]
        (doc / f"core-sounds-{lang}.txt.gz").write_bytes(gzip.compress(("\ufeff" + "\n".join(lines) + "\n").encode()))
        sounds = root / "usr/share/asterisk/sounds" / folder
        for name in [name for name in texts if name != "digits/1f"] + EXTRA_WAVS.get(lang, []):
            (sounds / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(sounds / f"{name}.wav", 0.1 * generator.standard_normal(8000), 8000, subtype="PCM_16")
    shutil.copy(sounds.parent / named["en"] / "copy.wav", sounds.parent / named["en"] / "copy2.wav")
    soundfile.write(sounds.parent / named["fr"] / "is.wav", np.zeros(0), 8000, subtype="PCM_16")
    return root


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asterisk")
    make_tree(folder / "corpus")
    done = script("prepare.py", folder / "corpus", folder / "data")
    assert done.returncode == 0, done.stderr
    streams = ("wav.scp", "text", "utt2spk", "utt2lang", "utt2dur", "utt2prompt")
    parts = {part: DataFolder(folder / "data" / part) for part in ("train", "dev", "test")}
    everything = {stream: {utt: line for part in parts.values() for utt, line in part.read(stream).items()}
                  for stream in streams}
    return folder, parts, everything, done.stdout


def test_what_the_suite_finds(prepared):
    assert tasks_of("asterisk", prepared[0] / "data") == ["asr_chars", "lid"]


def test_texts_are_normalised_and_mended(prepared):
    _, _, everything, _ = prepared
    text = everything["text"]
    assert text["allison_en_vm-intro"] == "please leave your message"
    assert text["allison_en_dictate-both_help"] == "press star to toggle pause press pound to enter a new dictation filename"
    assert text["allison_es_digits-10"] == "diez"
    assert text["allison_es_digits-1F"] == "una"
    assert text["allison_es_auth-incorrect"] == "contraseña incorrecta"
    assert text["june_fr_vm-youhave"] == "vous avez deux messages"
    assert text["carlo_it_conf-full"] == "la conferenza è piena"
    assert text["ivrvoiceru_ru_conf-adminmenu"] == "нажмите один"
    assert all(line == line.lower() and line for line in text.values())


def test_speakers_and_languages(prepared):
    _, _, everything, _ = prepared
    pairs = {(everything["utt2spk"][utt], lang) for utt, lang in everything["utt2lang"].items()}
    assert pairs == {("allison", "en"), ("allison", "es"), ("june", "fr"), ("carlo", "it"), ("ivrvoiceru", "ru")}
    assert everything["utt2prompt"]["allison_en_digits-7"] == "digits/7"
    assert everything["utt2dur"]["allison_en_digits-7"] == "1.000000"
    assert all(Path(path).is_file() for path in everything["wav.scp"].values())


def test_what_is_left_out_says_why(prepared):
    folder, _, everything, shown = prepared
    rows = [line.split("\t") for line in (folder / "data/left_out.tsv").read_text(encoding="utf-8").splitlines()]
    reasons = {row[0]: row[2] for row in rows}
    assert reasons.pop("allison_en_beep").startswith("not speech")
    assert reasons.pop("carlo_it_beeperr").startswith("not speech")
    assert reasons.pop("allison_en_silence-1").startswith("not speech")
    assert reasons.pop("allison_es_dir-welcome").startswith("no text: an empty")
    assert reasons.pop("allison_es_letters-ascii34").startswith("no text: not in")
    assert "a letter was lost" in reasons.pop("carlo_it_vm-odd")
    assert reasons.pop("june_fr_is").startswith("no text")
    assert "the same samples as allison_en_copy" in reasons.pop("allison_en_copy2")
    assert reasons == {}
    missing = (folder / "data/missing_text.tsv").read_text().split("\n")[:-1]
    assert [line.split("\t")[0] for line in missing] == ["allison_es_dir-welcome", "allison_es_letters-ascii34",
                                                         "june_fr_is"]
    assert "left out: 8 prompts, 3 of them because their text is missing" in shown
    assert "allison_en_vm-again\tsame words as allison_en_digits-7" in (folder / "data/notes.tsv").read_text()
    assert "allison_en_copy" in everything["text"]


def test_no_text_and_no_prompt_in_two_parts(prepared):
    _, parts, everything, _ = prepared
    for stream in ("text", "utt2prompt"):
        seen = {}
        for name, part in parts.items():
            for value in part.read(stream).values():
                assert seen.setdefault(value, name) == name, f"'{value}' is in {seen[value]} and {name}"
    share = {name: sum(part.seconds.values()) for name, part in parts.items()}
    total = sum(share.values())
    assert total == len(everything["text"]) and 0.08 < share["test"] / total < 0.2 and 0.04 < share["dev"] / total < 0.15


def test_again_gives_the_same_files(prepared, tmp_path):
    folder, parts, _, _ = prepared
    assert script("prepare.py", folder / "corpus", tmp_path, environment={"PYTHONHASHSEED": "7"}).returncode == 0
    for part in parts.values():
        for path in part.path.iterdir():
            assert path.read_bytes() == (tmp_path / part.name / path.name).read_bytes(), path


def test_long_prompts_stay_in_train(tmp_path):
    corpus = make_tree(tmp_path / "corpus")
    sounds = corpus / "usr/share/asterisk/sounds"
    for i in range(6):
        for j in range(4):
            soundfile.write(sounds / VOICES["en"] / f"colours/{i}-{j}.wav", np.full(8000 * 21, 0.1) * (i + j / 9 + 1) / 9, 8000)
    assert script("prepare.py", corpus, tmp_path / "data").returncode == 0
    for part in ("dev", "test"):
        assert max(DataFolder(tmp_path / "data" / part).seconds.values()) <= 20
    assert "allison_en_colours-0-0\t21.0 s long" in (tmp_path / "data/notes.tsv").read_text()


def test_folder_that_the_user_names(tmp_path):
    corpus = make_tree(tmp_path / "anywhere", named={lang: lang for lang in VOICES})
    done = script("download.sh", "--corpus", corpus, tmp_path / "downloads")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "downloads/corpus").resolve() == corpus.resolve()
    assert script("prepare.py", tmp_path / "downloads/corpus", tmp_path / "data").returncode == 0
    assert "allison_en_vm-intro" in {utt for part in ("train", "dev", "test") for utt in DataFolder(tmp_path / "data" / part).utts}


def test_folder_without_the_corpus_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    done = script("download.sh", "--corpus", tmp_path / "empty", tmp_path / "downloads")
    assert done.returncode == 1 and "no prompts for the language 'en'" in done.stderr and "cure:" in done.stderr
    assert not (tmp_path / "downloads/corpus").exists()
    done = script("prepare.py", tmp_path / "empty", tmp_path / "data")
    assert done.returncode == 1 and "no transcript of the language 'en'" in done.stderr and "Traceback" not in done.stderr


def test_a_broken_recording_is_left_out(tmp_path):
    corpus = make_tree(tmp_path / "corpus")
    wav = corpus / "usr/share/asterisk/sounds" / VOICES["en"] / "digits/7.wav"
    wav.write_bytes(wav.read_bytes()[:1000])
    soundfile.write(wav.with_name("8.wav"), np.ones((800, 2)) * 0.1, 16000)
    assert script("prepare.py", corpus, tmp_path / "data").returncode == 0
    left_out = (tmp_path / "data/left_out.tsv").read_text()
    assert "allison_en_digits-7" in left_out and "truncated" in left_out


@pytest.mark.slow
def test_real_packages(tmp_path):
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} on this machine")
    done = script("download.sh", tmp_path / "downloads")
    if done.returncode and ("could not be fetched" in done.stderr or "package lists" in done.stderr):
        pytest.skip(f"the Debian packages are out of reach: {done.stderr.splitlines()[-3]}")
    assert done.returncode == 0, done.stderr
    assert "Maxim Topal" in (tmp_path / "downloads/attribution/ATTRIBUTION.txt").read_text()
    assert "CC-BY-SA-3.0" in (tmp_path / "downloads/attribution/asterisk-core-sounds-fr-wav.copyright").read_text()
    again = script("download.sh", tmp_path / "downloads")
    assert again.returncode == 0 and "there already" in again.stderr
    done = script("prepare.py", tmp_path / "downloads/corpus", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    parts = {name: DataFolder(tmp_path / "data" / name) for name in ("train", "dev", "test")}
    minutes = {name: sum(part.seconds.values()) / 60 for name, part in parts.items()}
    assert 118 < sum(minutes.values()) < 126 and 11 < minutes["test"] < 14 and 5.5 < minutes["dev"] < 8
    texts = [set(part.read("text").values()) for part in parts.values()]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    for part in parts.values():
        assert len(set(part.read("utt2lang").values())) == 5
    checked = subprocess.run([sys.executable, "-m", "speechrep", "check", *(str(part.path) for part in parts.values())],
                             capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300)
    assert checked.returncode == 0, json.dumps(checked.stdout[-2000:])
