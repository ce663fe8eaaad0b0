"""egs/libri2mix: from LibriMix's layout and SUPERB's RTTM to data folders, on a small tree of the same shape."""

import pytest
from recipe_tree import load, problems, run_recipe, tasks_of, write, write_sound

from speechrep.data.folder import DataFolder
from speechrep.data.lists import read_list
from speechrep.errors import SpeechrepError

MIXTURES = {"train-100": ["103-1240-0003_1235-135887-0017", "103-1240-0003_4195-186237-0002"],
            "dev": ["1272-128104-0000_2035-147961-0014"], "test": ["4077-13754-0001_5142-33396-0065"]}
RTTM = {"train_clean_100": ["SPEAKER 1240-0003 1 0.48 0.31 <NA> <NA> 103 <NA> <NA>",
                            "SPEAKER 1240-0003 1 0.9 0.07 <NA> <NA> 103 <NA> <NA>",
                            "SPEAKER 135887-0017 1 0.1 0.6 <NA> <NA> 1235 <NA> <NA>",
                            "SPEAKER 186237-0002 1 0 0.8 <NA> <NA> 4195 <NA> <NA>"],
        "dev_clean": ["SPEAKER 128104-0000 1 0.1 0.5 <NA> <NA> 1272 <NA> <NA>",
                      "SPEAKER 147961-0014 1 0.2 0.5 <NA> <NA> 2035 <NA> <NA>"],
        "test_clean": ["SPEAKER 13754-0001 1 0.1 0.5 <NA> <NA> 4077 <NA> <NA>",
                       "SPEAKER 33396-0065 1 0.2 0.5 <NA> <NA> 5142 <NA> <NA>"]}


@pytest.fixture
def recipe(monkeypatch):
    module = load("libri2mix")
    monkeypatch.setattr(module, "PUBLISHED", {"mix_train": {"utterances": 2, "rttm": 6}, "mix_dev": {"utterances": 1},
                                              "mix_test": {"utterances": 1}})
    return module


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "storage/Libri2Mix/wav16k/max"
    for name, mixtures in MIXTURES.items():
        for kind, columns in (("mix_both", ",noise_path"), ("mix_clean", "")):
            rows = []
            for mix in mixtures:
                # Paths are those of the machine on which the corpus was made.
                old = f"/far/away/Libri2Mix/wav16k/max/{name}"
                noise = f",{old}/noise/{mix}.wav" if columns else ""
                rows.append(f"{mix},{old}/{kind}/{mix}.wav,{old}/s1/{mix}.wav,{old}/s2/{mix}.wav{noise},16000")
                write_sound(root / name / kind / f"{mix}.wav", 1.0)
            write(root / f"metadata/mixture_{name}_{kind}.csv",
                        f"mixture_ID,mixture_path,source_1_path,source_2_path{columns},length", *rows)
        for kind in ("s1", "s2"):
            for mix in mixtures:
                write_sound(root / name / kind / f"{mix}.wav", 1.0)
    for name, lines in RTTM.items():
        write(tmp_path / f"storage/metadata/LibriSpeech/{name}.rttm", *lines)
    return tmp_path / "storage"


@pytest.mark.parametrize("mixture", ["mix_both", "mix_clean"])
def test_mixtures_and_who_talks_when(recipe, tree, tmp_path, mixture):
    recipe.prepare(tree, tmp_path / "data", mixture=mixture)
    folders = [tmp_path / f"data/mix_{part}" for part in ("train", "dev", "test")]
    assert problems(*folders) == []
    train = DataFolder(folders[0])
    assert train.utts == MIXTURES["train-100"]
    assert train.read("wav.scp")[train.utts[0]].endswith(f"Libri2Mix/wav16k/max/train-100/{mixture}/{train.utts[0]}.wav")
    assert train.read("utt2spk")[train.utts[0]] == "103+1235"
    turns = [(row[1], row[3], row[4], row[7]) for row in read_list(folders[0] / "rttm")]
    # The same utterance of 103 in two mixtures, each beginning at 0.
    assert turns == [(train.utts[0], "0.48", "0.31", "103"), (train.utts[0], "0.9", "0.07", "103"),
                     (train.utts[0], "0.1", "0.6", "1235"), (train.utts[1], "0.48", "0.31", "103"),
                     (train.utts[1], "0.9", "0.07", "103"), (train.utts[1], "0", "0.8", "4195")]


def test_the_real_corpus_is_larger(tree, tmp_path, capsys):
    module = load("libri2mix")
    with pytest.raises(SpeechrepError, match="mix_train has 2 utterances instead of 13900"):
        module.prepare(tree, tmp_path / "data")
    module.prepare(tree, tmp_path / "data", partial=True)
    assert "instead of 3000" in capsys.readouterr().err


def test_rttm(recipe, tree, tmp_path):
    place = tree / "metadata/LibriSpeech"
    other = tmp_path / "elsewhere"
    place.rename(other)
    with pytest.raises(SpeechrepError, match="no train_clean_100.rttm"):
        recipe.prepare(tree, tmp_path / "data")
    recipe.prepare(tree, tmp_path / "data", rttm=other)
    good = (other / "dev_clean.rttm").read_text()
    for bad, found in ((good.replace("0.5 <NA> <NA> 1272", "0.5 <NA> <NA> 1273"), "128104-0000 is said by 1273"),
                       (good.replace("147961-0014", "147961-0015"), "no lines of 2035-147961-0014"),
                       (good.replace("0.1 0.5", "0.1 none"), "dev_clean.rttm:1: no start and duration")):
        (other / "dev_clean.rttm").write_text(bad)
        with pytest.raises(SpeechrepError, match=found):
            recipe.prepare(tree, tmp_path / "data", rttm=other)


def test_bad_input(recipe, tree, tmp_path):
    path = tree / "Libri2Mix/wav16k/max/metadata/mixture_dev_mix_both.csv"
    good = path.read_text()
    path.write_text(good.replace("1272-128104-0000_2035", "2035"))
    with pytest.raises(SpeechrepError, match="the mixture '2035-147961-0014'"):
        recipe.prepare(tree, tmp_path / "data")
    path.write_text(good)
    sound = tree / "Libri2Mix/wav16k/max/train-100/mix_both" / f"{MIXTURES['train-100'][1]}.wav"
    sound.unlink()
    with pytest.raises(SpeechrepError, match="1 sound files are missing"):
        recipe.prepare(tree, tmp_path / "data")
    recipe.prepare(tree, tmp_path / "data", partial=True)
    assert len(read_list(tmp_path / "data/mix_train/rttm")) == 3
    with pytest.raises(SpeechrepError, match="no wav16k/max"):
        recipe.prepare(tmp_path / "data", tmp_path / "more")


def test_run_as_far_as_prepared(tree, tmp_path):
    made = run_recipe("libri2mix", tmp_path / "top", "--corpus", str(tree), "--partial", "true", "--nj", "1", "--stop-stage", "1")
    assert (made / "data/mix_test/rttm").read_text()
    assert tasks_of("libri2mix", made / "data") == ["sd"]
    assert tasks_of("libri2mix", made / "data", "--task", "sd_superb") == ["sd_superb"]
