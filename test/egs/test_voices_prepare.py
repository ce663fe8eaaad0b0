"""egs/voices: the data folders of two recipes as one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recipe_tree import load, tasks_of, write

from speechrep.config import read_yaml
from speechrep.data.audio import read_wav, write_wav
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.trials import read_trials

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("train", "dev", "test")


def make_recipe(root: Path, name: str, rate_hz: int, said: dict[str, list[tuple[str, str, str]]], extra=()) -> Path:
    """root/NAME/data as a recipe leaves it, its paths relative to the recipe. said: part -> (speaker, language, text)."""
    recipe = root / name
    for part, rows in said.items():
        tables = {stream: {} for stream in ("wav.scp", "text", "utt2spk", "utt2lang", "utt2dur", *extra)}
        for number, (speaker, lang, text) in enumerate(rows):
            utt = f"{speaker}_{lang}_{part}{number}"
            time = np.arange(rate_hz) / rate_hz
            write_wav(recipe / f"audio/{utt}.wav", 0.3 * np.sin(2 * np.pi * 440 * time).astype(np.float32), rate_hz)
            values = {"wav.scp": f"audio/{utt}.wav", "text": text, "utt2spk": speaker, "utt2lang": lang,
                      "utt2dur": "1.000000", "image.scp": f"data/pictures/{number}.png", "category": "food"}
            for stream in tables:
                tables[stream][utt] = values[stream]
        write_folder(recipe / "data" / part, tables)
    return recipe


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    root = tmp_path_factory.mktemp("egs")
    make_recipe(root, "phone", 8000, {"train": [("ann", "en", "one"), ("ann", "en", "two"), ("eva", "fr", "un")],
                                      "dev": [("ann", "en", "three")], "test": [("ann", "en", "four")]})
    make_recipe(root, "paint", 16000, {"train": [("pol", "fr", "deux"), ("pol", "fr", "quatre"), ("kit", "en", "four")],
                                       "dev": [("kit", "en", "two"), ("kit", "en", "four")],
                                       "test": [("kit", "en", "five"), ("pol", "fr", "un")]}, ("image.scp", "category"))
    (root / "voices").mkdir()
    done = subprocess.run([sys.executable, str(ROOT / "egs/voices/local/prepare.py"), "../phone", "../paint", "data"],
                          cwd=root / "voices", capture_output=True, text=True, timeout=300,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return root / "voices", {part: DataFolder(root / "voices/data" / part) for part in PARTS}, done.stdout


def test_what_the_suite_finds(merged):
    assert tasks_of("voices", merged[0] / "data") == ["asr_chars", "lid"]


def test_names_tell_the_corpus(merged):
    _, parts, _ = merged
    assert parts["train"].read("utt2spk")["phone_ann_en_train0"] == "phone_ann"
    assert parts["train"].read("utt2spk")["paint_pol_fr_train0"] == "paint_pol"
    assert parts["train"].read("corpus")["paint_pol_fr_train0"] == "paint"
    assert parts["train"].read("utt2lang")["paint_pol_fr_train0"] == "fr"


def test_audio_has_one_rate(merged, monkeypatch):
    folder, parts, _ = merged
    monkeypatch.chdir(folder)
    entries = {utt: path for part in parts.values() for utt, path in part.read("wav.scp").items()}
    for utt, path in entries.items():
        samples, rate_hz = read_wav(path)
        assert rate_hz == 8000 and len(samples) == 8000, utt
        assert np.argmax(np.abs(np.fft.rfft(samples))) == 440
    assert entries["phone_ann_en_test0"].startswith("../phone/audio/")
    assert entries["paint_kit_en_test0"].startswith("data/wav/paint/")


def test_streams_of_one_corpus_stay_partial(merged):
    _, parts, _ = merged
    assert parts["test"].read("image.scp") == {"paint_kit_en_test0": "../paint/data/pictures/0.png",
                                               "paint_pol_fr_test1": "../paint/data/pictures/1.png"}


def test_no_text_in_two_parts(merged):
    folder, parts, shown = merged
    # "four" is in test of one corpus, train and dev of the other; "two" in dev of one and train of the other.
    rows = dict(line.split("\t") for line in (folder / "data/left_out.tsv").read_text().splitlines())
    assert rows == {"paint_kit_en_train2": "train: the same words as phone_ann_en_test0 in test",
                    "paint_kit_en_dev1": "dev: the same words as phone_ann_en_test0 in test",
                    "phone_ann_en_train1": "train: the same words as paint_kit_en_dev0 in dev",
                    "phone_eva_fr_train2": "train: the same words as paint_pol_fr_test1 in test"}
    assert "left out: 4 utterances" in shown
    for part in parts.values():
        assert not set(rows) & set(part.utts)


def test_more_voices_of_the_same_languages(tmp_path):
    make_recipe(tmp_path, "phone", 8000, {"train": [("ann", "en", "one")], "dev": [("ann", "en", "two")],
                                          "test": [("ann", "en", "three")]})
    make_recipe(tmp_path, "letters", 16000, {"train": [("fr", "fr", "a"), ("en", "en", "b"), ("en", "en", "three")],
                                             "dev": [("en", "en", "c"), ("fr", "fr", "d")], "test": [("en", "en", "e")]})
    (tmp_path / "voices").mkdir()
    command = [sys.executable, str(ROOT / "egs/voices/local/prepare.py"), "../phone", "data", "--more", "../letters"]
    done = subprocess.run(command, cwd=tmp_path / "voices", capture_output=True, text=True, timeout=300,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    train = DataFolder(tmp_path / "voices/data/train")
    assert train.read("utt2spk") == {"phone_ann_en_train0": "phone_ann", "letters_en_en_train1": "letters_en"}
    assert set(train.read("wav.scp")) == set(train.read("corpus")) == set(train.utts)
    rows = dict(line.split("\t") for line in (tmp_path / "voices/data/left_out.tsv").read_text().splitlines())
    assert rows == {"letters_fr_fr_train0": "train: no other corpus has the language: fr",
                    "letters_fr_fr_dev1": "dev: no other corpus has the language: fr",
                    "letters_en_en_train2": "train: the same words as phone_ann_en_test0 in test"}


def test_an_unprepared_corpus_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    done = subprocess.run([sys.executable, str(ROOT / "egs/voices/local/prepare.py"), str(tmp_path / "other"),
                           str(tmp_path / "data")], capture_output=True, text=True, timeout=300,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 1 and "run stage 1 (prepare)" in done.stderr and "Traceback" not in done.stderr


def test_a_method_that_a_corpus_has_not_is_no_matter_of_its_recipe(tmp_path):
    """--method resdavenet_vq needs a configuration that klettres and mini lack; klettres is prepared all the same."""
    shutil.copytree(ROOT / "egs/klettres", tmp_path / "egs/klettres", ignore=shutil.ignore_patterns("data", "downloads"))
    (tmp_path / "utils").symlink_to(ROOT / "utils")
    write(tmp_path / "tools/setup.sh", "#!/bin/sh").chmod(0o755)
    for name in ("asterisk", "tuxpaint"):
        (tmp_path / f"egs/{name}/data/test").mkdir(parents=True)
        (tmp_path / f"egs/{name}/data/test/wav.scp").touch()
    write(tmp_path / "egs/klettres/local/download.sh", "#!/bin/sh", "echo klettres is asked for", "exit 1")
    (tmp_path / "egs/voices/local").mkdir(parents=True)
    script = shutil.copy(ROOT / "egs/voices/local/download.sh", tmp_path / "egs/voices/local")
    answer = subprocess.run([script], env={**os.environ, "method": "resdavenet_vq"}, capture_output=True, text=True, timeout=300)
    assert answer.stdout.splitlines()[-1] == "klettres is asked for", answer.stderr


def test_trials_stay_within_a_language(merged, tmp_path):
    """In the merged folders no language has two speakers with two sentences in dev, which is said; with more speech it has."""
    _, parts, shown = merged
    assert "dev: no trials: " in shown and not (parts["dev"].path / "trials").exists()
    rows = [(speaker, lang, f"{speaker} says {number}") for speaker, lang in (
        ("ann", "en"), ("bob", "en"), ("eva", "fr")) for number in range(3)]
    make_recipe(tmp_path, "phone", 8000, {"train": rows[:1], "dev": [(s, l, f"dev {t}") for s, l, t in rows],
                                          "test": [(s, l, f"test {t}") for s, l, t in rows]})
    done = subprocess.run([sys.executable, str(ROOT / "egs/voices/local/prepare.py"), "phone", "data"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    trials = read_trials(tmp_path / "data/test/trials", DataFolder(tmp_path / "data/test").utts)
    assert len(trials) == 15 and sum(target for _, _, target in trials) == 6
    assert all(("ann" in a or "bob" in a) and "eva" not in b and (a[:9] == b[:9]) == target for a, b, target in trials)


def test_trials_of_the_test_are_of_voices_that_training_never_hears(tmp_path):
    recipe = load("voices")
    assert list(recipe.HELD_OUT) == read_yaml(ROOT / "egs/voices/conf/asv.yaml")["model"]["held_out"]
    speakers = (*recipe.HELD_OUT, "asterisk_allison", "klettres_en")
    said = [(f"{speaker}_{number}", speaker) for speaker in speakers for number in range(3)]
    tables = {"utt2spk": dict(said), "text": {utt: utt for utt, _ in said},
              "utt2lang": {utt: "en" if speaker in speakers[-2:] else "fr" for utt, speaker in said}}
    found = {}
    for tested in (True, False):
        assert "of them targets" in recipe.trials(tmp_path, tables, tested)
        found[tested] = {utt.rpartition("_")[0] for trial in read_trials(tmp_path / "trials") for utt in trial[:2]}
    assert found == {True: set(recipe.HELD_OUT), False: set(speakers[-2:])}
