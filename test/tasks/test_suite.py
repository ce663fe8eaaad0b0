"""Which tasks a corpus can run and why not others, and the names under which systems stand."""

import math
import shutil
from pathlib import Path

import pytest
from suite_corpus import make_recipe, write_conf
from toy_corpus import folder

from speechrep.bin import main
from speechrep.data.dataset import stream_file
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.tasks import sid, suite
from speechrep.tasks.base import ZeroShot, find_task, load_task, task_names, zero_shot_tasks
from speechrep.tasks.suite import find_jobs, task_confs
from speechrep.tasks.systems import find_systems, name_of
from speechrep.tasks.train import train_task


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_recipe(tmp_path_factory.mktemp("suite"))


@pytest.fixture
def recipe(made, tmp_path):
    """Labels and configurations that a test may change."""
    for name in ("data", "conf"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


def runnable(recipe, wanted="all", **options):
    return find_jobs(recipe / "data", [recipe / "conf"], wanted, **options)


def relabel(recipe, part, stream, change):
    data = folder(recipe, part)
    data.write(stream, {utt: change(utt, line) for utt, line in data.read(stream).items()})


def test_what_the_corpus_has_labels_for(recipe):
    jobs, reasons = runnable(recipe)
    assert [job.name for job in jobs] == ["asr", "frame_phones", "intent", "sid", "abx"]
    assert list(reasons) == ["lid", "qbe", "ssimi"] and "one class in slot 0, 'en'" in reasons["lid"]
    assert "queries_dev" in reasons["qbe"] and "semantic_dev" in reasons["ssimi"]
    assert jobs[0].conf == recipe / "conf/asr.yaml" and jobs[0].parts[2] == recipe / "data/test"
    assert jobs[-1].conf is None and jobs[-1].options == (
        "--train", str(recipe / "data/train"), "--dev", str(recipe / "data/dev"), "--test", str(recipe / "data/test"))
    (recipe / "data/test/ali").unlink()
    (recipe / "data/dev/intent").unlink()
    jobs, reasons = runnable(recipe)
    assert [job.name for job in jobs] == ["sid"]
    assert reasons["asr"] == reasons["frame_phones"] == f"no ali in {recipe / 'data/test'}"
    assert reasons["abx"].endswith(f"; or no ali in {recipe / 'data/test'}")
    assert reasons["intent"] == f"no intent in {recipe / 'data/dev'}"


def test_abx_of_the_corpus_own_items(recipe):
    """Where dev and test have items.item, from these in place of `ali`; of ZeroSpeech 2021's folders too."""
    data = recipe / "data"
    for part in ("test", "dev"):
        assert "--items" not in find(recipe, "abx").options
        (data / part / "items.item").write_text("#file\n")
    wanted = ("--train", "train", "--dev", "dev", "--test", "test", "--items", "test/items.item")
    assert find(recipe, "abx").options == named(data, wanted)
    for part in ("train", "dev", "test"):
        shutil.rmtree(data / part)
    (data / "phonetic_dev_clean").mkdir()
    (data / "phonetic_dev_clean/items.item").write_text("#file\n")
    clean = "phonetic_dev_clean"
    assert find(recipe, "abx").options == named(data, ("--train", clean, "--test", clean, "--items", f"{clean}/items.item"))
    (data / "phonetic_test_clean").mkdir()
    (data / "phonetic_test_clean/items.item").write_text("#file\n")
    assert find(recipe, "abx").options == named(data, (
        "--train", clean, "--dev", clean, "--test", "phonetic_test_clean", "--items", "phonetic_test_clean/items.item"))


def test_statistics_for_words_are_of_a_part_that_has_them(recipe):
    """Of the training part, or of ZeroSpeech 2021's clean dev, which its recipe dumps with statistics."""
    data = recipe / "data"
    for part in ("semantic_dev", "semantic_test"):
        (data / part).mkdir()
        for name in ("gold.csv", "pairs.csv"):
            (data / part / name).write_text("")
    rest = ("--dev", "semantic_dev", "--test", "semantic_test")
    assert find(recipe, "ssimi").options == named(data, ("--train", "train", *rest))
    (data / "train").rename(data / "phonetic_dev_clean")
    assert find(recipe, "ssimi").options == named(data, ("--train", "phonetic_dev_clean", *rest))


def named(data, options):
    return tuple(word if word.startswith("--") else str(data / word) for word in options)


def test_named_tasks(recipe):
    assert [job.name for job in runnable(recipe, "abx,intent_superb,abx")[0]] == ["abx", "intent_superb"]
    with pytest.raises(SpeechrepError, match="lid: .*one class in slot 0"):
        runnable(recipe, "asr,lid")
    with pytest.raises(SpeechrepError, match="task karaoke"):
        runnable(recipe, "karaoke")
    assert [job.name for job in runnable(recipe, "asr", overrides=["model.units=chars"])[0]] == ["asr"]
    shutil.rmtree(recipe / "data/test")
    with pytest.raises(SpeechrepError, match="no folder"):
        runnable(recipe)


def test_the_first_folder_of_configurations_wins(recipe, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_conf(other, "asr", {"task": "asr"})
    write_conf(other, "mine", {"task": "sid"})
    found = task_confs([recipe / "conf", other])
    assert found["asr"] == recipe / "conf/asr.yaml" and found["mine"] == other / "mine.yaml" and "logmel" not in found


def test_labels_that_cannot_serve(recipe):
    """Empty labels; a speaker only in test; no choice within a language. A class that only dev lacks is no matter."""
    relabel(recipe, "dev", "intent", lambda utt, line: "with|" + line.split("|")[1])
    assert "intent" in [job.name for job in runnable(recipe)[0]]
    relabel(recipe, "train", "intent", lambda utt, line: "with|" + line.split("|")[1])
    assert "one class in slot 0, 'with'" in runnable(recipe)[1]["intent"]
    relabel(recipe, "test", "intent", lambda utt, line: "")
    assert runnable(recipe)[1]["intent"] == f"no utterance of {recipe / 'data/test'} has intent"
    relabel(recipe, "test", "utt2spk", lambda utt, line: "nobody" if utt.endswith("9") else line)
    assert runnable(recipe)[1]["sid"] == f"1 of utt2spk are only in {recipe / 'data/test'}, such as 'nobody'"
    for part in ("train", "dev", "test"):
        relabel(recipe, part, "utt2lang", lambda utt, line: "es" if utt.startswith("spk0") else "fr")
    jobs, reasons = runnable(recipe)
    assert "no two classes" in reasons["sid"] and "lid" in [job.name for job in jobs]


def test_a_class_that_dev_lacks_is_no_matter_in_training(made, recipe):
    relabel(recipe, "dev", "intent", lambda utt, line: "with|" + line.split("|")[1])
    train_task(recipe / "conf/intent.yaml", "logmel", recipe / "data/train", recipe / "data/dev", made / "dump", recipe / "exp",
               device="cpu", overrides=["train.steps=4"])
    values = read_json(recipe / "exp/done.json")["dev"]
    assert math.isfinite(values["loss"]) and 0 <= values["accuracy"] <= 1
    assert load_task(recipe / "exp/best.pt").labels[:2] == ("0\twith", "0\twithout")


def test_tasks_say_what_they_need(recipe, monkeypatch):
    """Folders of which the first that are there are taken, files, folds and habits that a task declares."""
    monkeypatch.setattr(sid.Task, "parts", (("train", "mix_dev", "test"),))
    assert runnable(recipe)[1]["sid"] == f"no folder {recipe / 'data/mix_dev'}"
    monkeypatch.setattr(sid.Task, "parts", (("train", "mix_dev", "test"), ("train", "dev", "test")))
    assert find(recipe, "sid").parts[1] == recipe / "data/dev"
    shutil.copytree(recipe / "data/dev", recipe / "data/mix_dev")
    assert find(recipe, "sid").parts[1] == recipe / "data/mix_dev" and find(recipe, "sid").folds == ()
    monkeypatch.setattr(sid.Task, "files", {"test": ("trials",)})
    monkeypatch.setattr(sid.Task, "superb", {"model.within=": "a habit"})
    monkeypatch.setattr(sid.Task, "decode_options", {"--cohort": "train"})
    monkeypatch.setattr(sid.Task, "folds", classmethod(lambda cls, config, folders: tuple(
        f"model.fold={name}" for name in sorted(set(folders["train"].read("utt2spk").values())))))
    assert runnable(recipe)[1]["sid"] == f"no trials in {recipe / 'data/test'}"
    (recipe / "data/test/trials").write_text("a b target\n")
    job = find(recipe, "sid")
    assert job.superb == (("model.within=", "a habit"),) and job.folds == ("model.fold=spk0", "model.fold=spk1")
    assert job.options == ("--cohort", str(recipe / "data/train"))
    monkeypatch.setattr(suite, "zero_shot_tasks", lambda: {"qbe": (
        ZeroShot({"--q": "queries"}, {"queries": ("relevance",)}), ZeroShot({"--q": "test"}, {"test": ("trials",)}))})
    assert find(recipe, "qbe").options == ("--q", str(recipe / "data/test"))
    (recipe / "data/queries").mkdir()
    assert find(recipe, "qbe").options == ("--q", str(recipe / "data/test"))
    (recipe / "data/test/trials").unlink()
    assert runnable(recipe)[1]["qbe"] == f"no relevance in {recipe / 'data/queries'}; or no trials in {recipe / 'data/test'}"
    assert [stream_file(need) for need in ("phones", "label:ali", "units:x", "feats", "text")] == ["ali", "ali", "units.x", "", "text"]


def test_what_tasks_that_train_nothing_are_compared_by():
    found = {name: {(task.main_metrics, task.frame_level) for task in tasks} for name, tasks in zero_shot_tasks().items()}
    assert found == {"abx": {(("abx_within", "abx_across"), True)}, "qbe": {(("mtwv",), True)}, "ssimi": {((), False)}}


def test_what_is_set_goes_before_a_habit(made, recipe, tmp_path):
    options = ["--upstream", "logmel", "--task", "sid", "--data", recipe / "data", "--conf", recipe / "conf", "--dump",
               made / "dump", "--exp", tmp_path, "--superb-compatible", "--set", "model.crop_sec=0.25"]
    assert main([str(word) for word in ("suite", "train", *options)]) == 0
    config = load_task(tmp_path / "tasks/logmel-0/sid.superb/best.pt").config
    assert config.crop_sec == 0.25 and config.within == ""


def test_habits_are_named_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["suite", "train", "--help"])
    told = capsys.readouterr().out
    habits = [setting for name in task_names() for setting in find_task(name).superb]
    habits += find_task("asr").superb_of(find_task("asr").Config())
    habits += [setting for tasks in zero_shot_tasks().values() for task in tasks for setting in task.superb]
    assert len(habits) > 4 and [setting for setting in habits if setting not in told] == []


def find(recipe, name):
    return next(job for job in runnable(recipe)[0] if job.name == name)


def test_the_verb_lists_them(recipe, monkeypatch, capsys):
    monkeypatch.chdir(recipe)
    assert main(["suite", "tasks"]) == 0
    told = capsys.readouterr()
    assert told.out.split() == ["asr", "frame_phones", "intent", "sid", "abx"] and "not lid: " in told.err


@pytest.mark.parametrize("spec, seeds, name", [
    ("mfcc", [0], "mfcc"), ("exp/hubert/small-0/best.pt", [0], "hubert-small"),
    ("exp/hubert/small-0/best.pt", [0, 1], "hubert-small-0"), ("exp/hubert/small-{seed}/best.pt", [0, 1], "hubert-small"),
    ("exp/hubert/small-3/best.pt", [0], "hubert-small-3"), ("random:exp/hubert/small-0/best.pt", [0], "random-hubert"),
    ("/models/hubert-base", [0], "hubert-base"), ("exp/hubert/base/best.pt", [0], "hubert-base")])
def test_names_of_systems(spec, seeds, name):
    assert name_of(spec, seeds) == name


def test_systems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        path = Path(f"exp/apc/small-{seed}/best.pt")
        path.parent.mkdir(parents=True)
        path.touch()
    found = find_systems("mfcc,first=exp/apc/small-{seed}/best.pt", [0, 1])
    assert [(system.name, system.spec, system.seed) for system in found] == [
        ("mfcc", "mfcc", 0), ("mfcc", "mfcc", 1), ("first", "exp/apc/small-0/best.pt", 0), ("first", "exp/apc/small-1/best.pt", 1)]
    for upstream, why in (("exp/apc/small-7/best.pt", "no such file"), (" ,", "no upstream"), ("mfc", "no such file"),
                          ("x=mfcc,x=logmel", "two upstreams called x")):
        with pytest.raises(SpeechrepError, match=why):
            find_systems(upstream, [0])
