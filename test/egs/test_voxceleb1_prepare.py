"""egs/voxceleb1: identification by its list, verification by its trials, on a tree laid out as published."""

import shutil

import pytest
from recipe_tree import EGS, folders, load, run_recipe, tasks_of, write, write_sound

from speechrep.config import read_yaml
from speechrep.data.folder import read_table
from speechrep.data.lists import read_list
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.metrics.score import read_score
from speechrep.tasks.suite import find_jobs

recipe = load("voxceleb1")
DEV, TEST = ("id10001", "id10002", "id10003", "id10004"), ("id10270", "id10271")
VIDEOS = ("na8-QEFmj44", "1zcIwhmdeo4", "_7gNlM7-x_0")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("voxceleb") / "VoxCeleb1"
    split = []
    for half, speakers in (("dev", DEV), ("test", TEST)):
        for speaker in speakers:
            for number, video in enumerate(VIDEOS, 1):
                write_sound(root / half / "wav" / speaker / video / "00001.wav", 2.5)
                split.append(f"{number} {speaker}/{video}/00001.wav")
    write_sound(root / "dev/wav/id10001/na8-QEFmj44/00002.wav")
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
        "identification/train": {"utterances": 7, "speakers": 6}, "identification/dev": {"utterances": 6, "speakers": 6},
        "identification/test": {"utterances": 6, "speakers": 6}, "verification/test": {"utterances": 6, "speakers": 2}})
    monkeypatch.setattr(recipe, "DEVELOPMENT", {"utterances": 13, "speakers": 4})
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
    with pytest.raises(SpeechrepError, match="dev/wav has 13 utterances of 4 speakers instead of 148642 of 1211"):
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


def test_what_the_suite_finds(published, counted, tmp_path):
    """The corpus says of nobody which language is spoken: its own configurations ask for none, and SUPERB's habits do
    without; where the trials choose, a dev part too is not needed."""
    recipe.prepare(published, tmp_path, dev_speakers=2)
    data = {protocol: tmp_path / protocol for protocol in ("identification", "verification")}
    assert tasks_of("voxceleb1", data["identification"]) == ["sid"]
    assert tasks_of("voxceleb1", data["identification"], "--task", "sid_superb") == ["sid_superb"]
    assert tasks_of("voxceleb1", data["verification"]) == ["asv"]
    assert tasks_of("voxceleb1", data["verification"], "--task", "asv_superb") == ["asv_superb"]
    for protocol, task in (("identification", "sid"), ("verification", "asv")):
        with pytest.raises(SpeechrepError, match=f"{task}: no utt2lang in"):
            find_jobs(data[protocol], [EGS / "mini/conf"], task)
        assert find_jobs(data[protocol], [EGS / "mini/conf"], task, superb=True)[0][0].name == task
    recipe.prepare(published, tmp_path, dev_speakers=0)
    with pytest.raises(SpeechrepError, match="no folder .*verification/dev"):
        find_jobs(data["verification"], [EGS / "voxceleb1/conf"], "asv")
    (job,), _ = find_jobs(data["verification"], [EGS / "voxceleb1/conf"], "asv", superb=True)
    assert [part.name for part in job.parts] == ["train", "test", "test"]


@pytest.mark.parametrize("protocol, data, task, metric, count, options", [
    ("identification", "identification", "sid", "accuracy", 6, ()),
    ("verification", "verification", "asv", "eer", 2, ("--dev-speakers", "2")),
    pytest.param("verification", "verification_trimmed", "asv.superb", "eer", 2,
                 ("--superb-compatible", "true", "--dev-speakers", "0"),
                 marks=pytest.mark.skipif(not shutil.which("sox"), reason="sox is not installed"))])
def test_the_recipe_runs(published, tmp_path, protocol, data, task, metric, count, options):
    """All stages, with MFCC and two steps of training, to a score of the protocol's own task. SUPERB's habits are to verify
    speech without silences, and to learn from what is longer than 2 s."""
    made = run_recipe("voxceleb1", tmp_path, "--corpus", str(published), "--partial", "true", "--nj", "1", "--protocol",
                      protocol, "--set", "train.steps=2", "--set", "train.dev_every=1", *options)
    assert len(read_list(made / "data/verification/test/trials")) == 2
    if data == "verification_trimmed":
        whole, left = ({part: read_table(made / "data" / name / part / "utt2dur") for part in ("train", "test")}
                       for name in ("verification", data))
        assert whole["train"].keys() - left["train"].keys() == {"id10001-na8-QEFmj44-00002"}
        assert left["test"].keys() == whole["test"].keys()
    trained = made / "exp" / data / "tasks/mfcc-0" / task
    assert read_yaml(trained / "config.yaml")["model"]["within"] == ""
    assert read_json(trained / "done.json")["best"]["step"] in (1, 2)
    score = read_score(trained / "test/score.json")
    assert score["metrics"][metric]["n"] == count and 0 <= score["metrics"][metric]["value"] <= 100
    assert set(read_table(trained / "test" / ("hyp" if task == "sid" else "embedding"))) == set(
        read_table(made / "data" / data / "test/utt2spk"))
    table = read_json(made / "exp" / data / "METHODS.json")["systems"][0]["scores"]
    assert [name.split(":")[0] for name in table] == [task] * len(table) and not (made / "exp/METHODS.json").exists()
    assert (made / "exp" / data / "report/methods.html").is_file()
