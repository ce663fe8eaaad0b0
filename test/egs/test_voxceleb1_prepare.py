"""egs/voxceleb1: identification by its list, verification by its trials, on a tree laid out as published."""

import shutil

import pytest
from recipe_tree import folders, load, run_recipe, tone, write

from speechrep.data.lists import read_list
from speechrep.errors import SpeechrepError

recipe = load("voxceleb1")
DEV, TEST = ("id10001", "id10002", "id10003"), ("id10270", "id10271")
VIDEOS = ("na8-QEFmj44", "1zcIwhmdeo4", "_7gNlM7-x_0")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("voxceleb") / "VoxCeleb1"
    split = []
    for half, speakers in (("dev", DEV), ("test", TEST)):
        for speaker in speakers:
            for number, video in enumerate(VIDEOS, 1):
                tone(root / half / "wav" / speaker / video / "00001.wav")
                split.append(f"{number} {speaker}/{video}/00001.wav")
    tone(root / "dev/wav/id10001/na8-QEFmj44/00002.wav")
    split.append("1 id10001/na8-QEFmj44/00002.wav")
    write(root / "veri_test_class.txt", *split)
    another = f"0 id10270/{VIDEOS[1]}/00001.wav id10271/{VIDEOS[1]}/00001.wav"
    for name, more in (("veri_test2.txt", []), ("veri_test.txt", [another])):
        write(root / "meta" / name, f"1 id10270/{VIDEOS[0]}/00001.wav id10270/{VIDEOS[1]}/00001.wav",
              f"0 id10270/{VIDEOS[0]}/00001.wav id10271/{VIDEOS[2]}/00001.wav", *more)
    return root.parent


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(recipe, "PUBLISHED", {
        "identification/train": {"utterances": 6, "speakers": 5}, "identification/dev": {"utterances": 5, "speakers": 5},
        "identification/test": {"utterances": 5, "speakers": 5}, "verification/test": {"utterances": 6, "speakers": 2}})
    monkeypatch.setattr(recipe, "DEVELOPMENT", {"utterances": 10, "speakers": 3})
    monkeypatch.setattr(recipe, "TRIALS", {"cleaned": ("veri_test2.txt", 2), "original": ("veri_test.txt", 3)})


def test_both_protocols(published, counted, tmp_path):
    recipe.prepare(published, tmp_path, dev_speakers=1)
    found = folders(tmp_path)
    assert set(found) == {f"{protocol}/{part}" for protocol in ("identification", "verification")
                          for part in ("train", "dev", "test")}
    assert found["identification/train"].utts == ["id10001-na8-QEFmj44-00001", "id10001-na8-QEFmj44-00002"] + [
        f"{speaker}-na8-QEFmj44-00001" for speaker in (*DEV[1:], *TEST)]
    assert all(set(found[f"identification/{part}"].read("spk2utt")) == {*DEV, *TEST} for part in ("train", "dev", "test"))
    held_out = set(found["verification/dev"].read("spk2utt"))
    assert len(held_out) == 1 and held_out | set(found["verification/train"].read("spk2utt")) == set(DEV)
    assert set(found["verification/test"].read("spk2utt")) == set(TEST)
    assert read_list(tmp_path / "verification/test/trials") == [
        ("id10270-na8-QEFmj44-00001", "id10270-1zcIwhmdeo4-00001", "target"),
        ("id10270-na8-QEFmj44-00001", "id10271-_7gNlM7-x_0-00001", "nontarget")]


def test_choices(published, counted, tmp_path):
    recipe.prepare(published, tmp_path, dev_speakers=1)
    recipe.prepare(published, tmp_path, trials="original", dev_speakers=0)
    found = folders(tmp_path)
    assert "verification/dev" not in found and set(found["verification/train"].read("spk2utt")) == set(DEV)
    assert len(read_list(tmp_path / "verification/test/trials")) == 3


def test_published_counts_are_wanted(published, tmp_path, capsys):
    with pytest.raises(SpeechrepError, match="dev/wav has 10 utterances of 3 speakers instead of 148642 of 1211"):
        recipe.prepare(published, tmp_path, dev_speakers=1)
    recipe.prepare(published, tmp_path, dev_speakers=1, partial=True)
    warned = capsys.readouterr().err
    assert "instead of 138361" in warned and "verification/test has 2 trials instead of 37611" in warned


def test_a_missing_file(published, counted, tmp_path, capsys):
    shutil.copytree(published, tmp_path / "corpus")
    (tmp_path / "corpus/VoxCeleb1/test/wav/id10271/_7gNlM7-x_0/00001.wav").unlink()
    with pytest.raises(SpeechrepError, match="id10271/_7gNlM7-x_0/00001.wav: no such file"):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data", dev_speakers=1)
    recipe.prepare(tmp_path / "corpus", tmp_path / "data", dev_speakers=1, partial=True)
    assert "1 of 2 lines of trials name utterances that are not there" in capsys.readouterr().err
    assert len(read_list(tmp_path / "data/verification/test/trials")) == 1 and folders(tmp_path / "data")


@pytest.mark.parametrize("name, lines, message", [
    ("veri_test_class.txt", None, "no veri_test_class.txt or iden_split.txt"),
    ("meta/veri_test2.txt", None, "no veri_test2.txt"),
    ("veri_test_class.txt", ["4 id10001/na8-QEFmj44/00001.wav"], "1, 2 or 3 before each file"),
    ("veri_test_class.txt", ["1 A.J._Buckley/1zcIwhmdeo4/0000001.wav"], "is not a file of VoxCeleb1"),
    ("meta/veri_test2.txt", ["1 id10270/na8-QEFmj44/00001.wav id10271/_7gNlM7-x_0/00001.wav"], "is target"),
    ("meta/veri_test2.txt", ["2 id10270/na8-QEFmj44/00001.wav id10270/_7gNlM7-x_0/00001.wav"], "is neither 1 nor 0"),
    ("meta/veri_test2.txt", ["1 id10270/na8-QEFmj44/00001.wav"], "2 fields in"),
    ("meta/veri_test2.txt", ["0 id10270/na8-QEFmj44/00001.wav id10271/__________0/00009.wav"],
     "1 of 1 lines of trials .* such as id10271-__________0-00009")])
def test_what_cannot_be_right_is_refused(published, counted, tmp_path, name, lines, message):
    shutil.copytree(published, tmp_path / "corpus")
    path = tmp_path / "corpus/VoxCeleb1" / name
    path.unlink()
    if lines:
        write(path, *lines)
    with pytest.raises(SpeechrepError, match=message):
        recipe.prepare(tmp_path / "corpus", tmp_path / "data", dev_speakers=1)


def test_the_recipe_runs(published, tmp_path):
    made = run_recipe("voxceleb1", tmp_path, "--corpus", str(published), "--partial", "true", "--nj", "1",
                      "--dev-speakers", "1", "--stop-stage", "1")
    assert len(read_list(made / "data/verification/test/trials")) == 2
