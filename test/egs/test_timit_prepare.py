"""egs/timit: SPHERE files, official parts, folded phones and true times, on a tree laid out as published."""

import shutil

import pytest
import soundfile
from recipe_tree import folders, load, run_recipe, tasks_of, tone, write

from speechrep.data.alignment import read_ali
from speechrep.errors import SpeechrepError

recipe = load("timit")
LABELS = ["0 1600 h#", "1600 2400 sh", "2400 3200 ix", "3200 3600 hv", "3600 4000 eh", "4000 4400 dcl", "4400 4800 jh",
          "4800 5200 q", "5200 5600 ih", "5600 5800 epi", "5800 6000 pau", "6000 6350 h#"]
WORDS = ["1600 3200 she", "3200 4800 had", "4400 5600 your"]
SPEAKERS = {"TRAIN": ("FCJF0", "MABC0"), "TEST": ("MDAB0", "FAKS0", "MSJS1")}


def sentence(stem, lower):
    """The four files of a sentence: 0.4 s, 16 bits, SPHERE."""
    for suffix, lines in ((".PHN", LABELS), (".WRD", WORDS), (".TXT", ["0 6350 She had your, Mister."])):
        write(stem.with_name(stem.name + (suffix.lower() if lower else suffix)), *lines)
    tone(stem.with_name(stem.name + (".wav" if lower else ".WAV")), kind="NIST")


def make(top, lower=False):
    for half, speakers in SPEAKERS.items():
        for speaker in speakers:
            for name in ("SA1", "SX307", "SI648"):
                path = f"TIMIT/{half}/DR1/{speaker}/{name}"
                sentence(top / (path.lower() if lower else path), lower)
    return top


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return make(tmp_path_factory.mktemp("timit"))


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(recipe, "PUBLISHED", {
        "train": {"utterances": 4, "speakers": 2}, "dev": {"utterances": 2, "speakers": 1},
        "test": {"utterances": 2, "speakers": 1}, "test_full": {"utterances": 6, "speakers": 3}})


def test_the_official_parts():
    assert len(recipe.CORE) == 24 and len(recipe.DEV) == 50 and not recipe.CORE & recipe.DEV
    assert sum(name[0] == "f" for name in recipe.CORE) == 8


@pytest.mark.parametrize("lower", [False, True])
def test_parts_and_streams(counted, tmp_path, lower):
    recipe.prepare(make(tmp_path / "corpus", lower), tmp_path / "data")
    found = folders(tmp_path / "data")
    assert {part: folder.utts for part, folder in found.items()} == {
        "train": ["fcjf0_si648", "fcjf0_sx307", "mabc0_si648", "mabc0_sx307"], "test": ["mdab0_si648", "mdab0_sx307"],
        "dev": ["faks0_si648", "faks0_sx307"],
        "test_full": [f"{speaker}_{name}" for speaker in ("faks0", "mdab0", "msjs1") for name in ("si648", "sx307")]}
    assert found["train"].read("text")["fcjf0_sx307"] == "she had your mister"
    assert found["train"].read("spk2gender") == {"fcjf0": "f", "mabc0": "m"}
    assert set(found["train"].read("spk2dialect").values()) == {"dr1"}
    assert soundfile.info(found["test"].read("wav.scp")["mdab0_sx307"]).format == "NIST"


@pytest.mark.parametrize("classes, ali, phones", [
    (61, "SIL 0.1 sh 0.15 ix 0.2 hv 0.225 eh 0.25 dcl 0.275 jh 0.3 q 0.325 ih 0.35 epi 0.3625 SIL 0.4",
     "sh ix | hv eh dcl | jh q ih epi"),
    (48, "SIL 0.1 sh 0.15 ix 0.2 hh 0.225 eh 0.25 vcl 0.275 jh 0.3 ih 0.35 epi 0.3625 SIL 0.4",
     "sh ix | hh eh vcl | jh ih epi"),
    (39, "SIL 0.1 sh 0.15 ih 0.2 hh 0.225 eh 0.25 SIL 0.275 jh 0.3 ih 0.35 SIL 0.4", "sh ih | hh eh | jh ih")])
def test_true_times(published, counted, tmp_path, classes, ali, phones):
    recipe.prepare(published, tmp_path, phones=classes)
    train = folders(tmp_path)["train"]
    names, ends = read_ali(train.read("ali.true")["fcjf0_sx307"])
    assert names == ali.split()[::2] and ends == [float(end) for end in ali.split()[1::2]]
    assert train.read("phones")["fcjf0_sx307"] == phones
    assert ends[-1] == train.seconds["fcjf0_sx307"] == 0.4
    assert [name for name in names if name != "SIL"] == [name for name in phones.split() if name != "|"]


def test_times_of_words(published, counted, tmp_path):
    recipe.prepare(published, tmp_path)
    # `had` and `your` share the jh: the first ends where the second begins.
    assert folders(tmp_path)["dev"].read("ali.words")["faks0_sx307"] == (
        "SIL 0.1000 she 0.2000 had 0.2750 your 0.3500 SIL 0.4000")


def test_silences_that_count(published, counted, tmp_path):
    recipe.prepare(published, tmp_path, phones=39, keep_silences=True)
    test = folders(tmp_path)["test"]
    names, _ = read_ali(test.read("ali.true")["mdab0_sx307"])
    assert names == "sil sh ih hh eh sil jh ih sil sil sil".split()
    assert [name for name in test.read("phones")["mdab0_sx307"].split() if name != "|"] == names


def test_published_counts_are_wanted(published, tmp_path):
    with pytest.raises(SpeechrepError, match="train has 4 utterances instead of 3696; train has 2 speakers instead of 462"):
        recipe.prepare(published, tmp_path)
    recipe.prepare(published, tmp_path, partial=True)
    assert len(folders(tmp_path)) == 4


STEM = "TIMIT/TRAIN/DR1/FCJF0/SX307"


@pytest.mark.parametrize("spoil, message, partial", [
    (lambda top: (top / f"{STEM}.WAV").unlink(), "SX307.WAV: no such file", False),
    (lambda top: (top / f"{STEM}.WRD").unlink(), "SX307.WRD: no such file", True),
    (lambda top: (top / f"{STEM}.PHN").unlink(), "train has 3 utterances instead of 4", False),
    (lambda top: write(top / f"{STEM}.PHN", "0 1600 h#", "1600 6400 zz"), "the label 'zz'", True),
    (lambda top: write(top / f"{STEM}.PHN", "1600 3200 sh", "0 1600 h#"), "begins before the line above it", True),
    (lambda top: write(top / f"{STEM}.PHN", "0 1600 h#", "1600 x sh"), "START END LABEL", True),
    (lambda top: write(top / f"{STEM}.PHN", "0 6400 h#", "6400 7000 sh"), "at sample 6400, behind the last of 6400", True),
    (lambda top: write(top / f"{STEM}.PHN"), "SX307.PHN: no labels", True),
    (lambda top: write(top / f"{STEM}.TXT", "0 6350"), "SX307.TXT: no text", True),
    (lambda top: tone(top / f"{STEM}.WAV", rate_hz=8000, kind="NIST"), "8000 Hz", True),
    (lambda top: shutil.rmtree(top / "TIMIT/TRAIN"), "no folder TRAIN", True)])
def test_what_cannot_be_right_is_refused(published, counted, tmp_path, spoil, message, partial):
    shutil.copytree(published, tmp_path / "corpus")
    spoil(tmp_path / "corpus")
    with pytest.raises(SpeechrepError, match=message):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data", partial=partial)


def test_the_recipe_runs(published, tmp_path):
    made = run_recipe("timit", tmp_path, "--corpus", str(published), "--partial", "true", "--nj", "1", "--phones", "39",
                      "--stop-stage", "2")
    assert (made / "data/train/ali").read_text() == (made / "data/train/ali.true").read_text()
    assert tasks_of("timit", made / "data") == ["asr", "asr_chars", "frame_phones", "abx"]
    assert tasks_of("timit", made / "data", "--task", "pr_superb") == ["pr_superb"]
