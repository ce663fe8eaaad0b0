"""The whole row of an upstream by one command: run.sh --upstream through utils/evaluate.sh, killed, gone on with, and
again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from suite_corpus import make_recipe
from toy_corpus import FEATURES
from verb_server import speechrep_at_once

from speechrep.bin import main
from speechrep.data.dump import dump
from speechrep.data.folder import read_table, table_text
from speechrep.files import read_json
from speechrep.metrics.score import read_score
from speechrep.train import checkpoint

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM = "mfcc,apc=exp/apc/small-0/best.pt"
LONG = ["--set", "train.steps=300", "--set", "train.save_every=10", "--set", "train.dev_every=50"]


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """A checkout whose set-up is this environment, with a recipe that has come to its stage 5."""
    torch.set_num_threads(1)
    top = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "utils", top / "utils")
    recipe = top / "egs/toy"
    make_recipe(recipe)
    for name in ("run.sh", "path.sh", "cmd.sh"):
        shutil.copy(ROOT / "egs/TEMPLATE" / name, recipe / name)
    for name, command in {"tools/setup.sh": "true", ".venv/bin/speechrep": f'exec {speechrep_at_once()} "$@"'}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"#!/bin/bash\n{command}\n")
        (top / name).chmod(0o755)
    return top


def start(command, cwd, **environment) -> subprocess.Popen:
    own = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    own["PATH"] = f"{cwd.parents[1] / '.venv/bin'}:{own['PATH']}"
    return subprocess.Popen([str(word) for word in command], cwd=cwd, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)


def predictions(exp: Path) -> dict[str, dict]:
    """What was predicted, and scores less where they come from."""
    found = {str(path.relative_to(exp)): read_table(path) for path in sorted((exp / "tasks").rglob("hyp"))}
    return found | {str(path.relative_to(exp)): {key: value for key, value in read_score(path).items() if key != "provenance"}
                    for path in sorted((exp / "tasks").rglob("score.json"))}


def test_killed_and_gone_on_with(top, monkeypatch, capsys):
    """Killed in the midst of a task; the rest of the way by run.sh. The scores are those of a run in peace."""
    recipe = top / "egs/toy"
    process = start([top / "utils/evaluate.sh", "train", *LONG], recipe, upstream=UPSTREAM, task="intent,abx")
    deadline = time.monotonic() + 600
    while not (recipe / "exp/tasks/mfcc-0/intent/last.pt").is_file():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (recipe / "exp/tasks/mfcc-0/intent/done.json").exists()

    done = start([top / "utils/evaluate.sh", "train", *LONG], recipe, upstream=UPSTREAM, task="intent,abx")
    said, problems = done.communicate(timeout=600)
    assert done.returncode == 0, problems[-3000:]
    assert (recipe / "exp/tasks/apc-0/intent/best.pt").is_file()
    done = start([recipe / "run.sh", "--stage", "7", "--upstream", UPSTREAM, "--task", "intent,abx"], recipe)
    said, problems = done.communicate(timeout=600)
    assert done.returncode == 0, problems[-3000:]
    assert "| apc |" in said and "exp/report/methods.html" in said
    table = read_json(recipe / "exp/METHODS.json")
    assert [row["system"] for row in table["systems"]] == ["apc", "mfcc"]

    monkeypatch.chdir(recipe)
    options = ["--upstream", UPSTREAM, "--task", "intent,abx", "--exp", "peace"]
    assert main(["suite", "train", *options, *LONG, "--device", "cpu"]) == 0
    assert main(["suite", "score", *options]) == 0
    whole = predictions(recipe / "peace")
    assert len(whole) == 2 * 3 and predictions(recipe / "exp") == whole
    assert "already" not in capsys.readouterr().out


@pytest.mark.parametrize("upstream, tasks, jobs", [
    (UPSTREAM, "intent", ["apc-0", "mfcc-0"]),
    ("mfcc", "intent,sid", ["mfcc-0-intent", "mfcc-0-sid"])], ids=["systems", "tasks of one system"])
def test_side_by_side(top, tmp_path, monkeypatch, upstream, tasks, jobs):
    """Two at a time, systems or a system's tasks; the scores are those of one after another."""
    shutil.copytree(top / "egs/toy", tmp_path / "egs/toy", ignore=shutil.ignore_patterns("tasks", "log", "layers"))
    (tmp_path / ".venv").symlink_to(top / ".venv")
    recipe = tmp_path / "egs/toy"
    wanted = dict(upstream=upstream, task=tasks, nj="2", OMP_NUM_THREADS="2")
    for stage in ("train", "score"):
        done = start([top / "utils/evaluate.sh", stage], recipe, **wanted)
        said, problems = done.communicate(timeout=600)
        assert done.returncode == 0, problems[-3000:]
        assert sorted(line.split(":")[0] for line in said.splitlines() if ": done in" in line) == [
            f"{stage}-{job}" for job in jobs]
    assert "| mfcc |" in said and not list((recipe / "dump/layers").glob("*")), "what was computed of a system is forgotten"
    monkeypatch.chdir(recipe)
    options = ["--upstream", upstream, "--task", tasks, "--exp", "alone"]
    assert main(["suite", "train", *options, "--device", "cpu"]) == 0 and main(["suite", "score", *options]) == 0
    assert predictions(recipe / "exp") == predictions(recipe / "alone")


def test_what_the_tasks_share_is_computed_before(top, tmp_path, monkeypatch):
    """The frames of each part for the tasks that want them, the means for those that pool; training and decoding then
    compute nothing more, and where all tasks pool there are no frames."""
    shutil.copytree(top / "egs/toy", tmp_path / "toy", ignore=shutil.ignore_patterns("tasks", "log", "layers"))
    monkeypatch.chdir(tmp_path / "toy")

    def kept():
        return {path.relative_to("dump/layers") for path in Path("dump/layers").rglob("*.ark")}

    for tasks, folders in (("intent,sid", {".mean"}), ("intent,asr", {"", ".mean"})):
        options = ["--upstream", "apc=exp/apc/small-0/best.pt", "--task", tasks]
        assert main(["suite", "extract", *options]) == 0
        assert {path.parent.suffix for path in kept()} == folders
        assert {path.parent.parent.name.split("-")[0] for path in kept()} == {"train", "dev", "test"}
        before = kept()
        assert main(["suite", "train", *options]) == 0 and main(["suite", "score", *options]) == 0
        assert kept() == before
    assert len({path.parent for path in before}) == 2 * 2 * 3, "frames and means of two layers of three parts"
    shutil.rmtree("dump/layers")
    assert main(["suite", "extract", *options, "--set", "model.finetune=true"]) == 0 and not kept()
    monkeypatch.setattr("speechrep.tasks.cached.LARGEST_SHARE", 1e-15)
    assert main(["suite", "extract", *options]) == 0 and not kept()


def test_a_system_that_fails_does_not_keep_the_others(top, tmp_path):
    shutil.copytree(top / "egs/toy", tmp_path / "egs/toy", ignore=shutil.ignore_patterns("tasks", "log", "layers"))
    (tmp_path / ".venv").symlink_to(top / ".venv")
    recipe = tmp_path / "egs/toy"
    (recipe / "exp/tasks").mkdir()
    (recipe / "exp/tasks/logmel-0").write_text("in the way")
    done = start([top / "utils/evaluate.sh", "train"], recipe, upstream="logmel,mfcc", task="sid")
    said, problems = done.communicate(timeout=600)
    assert done.returncode == 1 and "train-logmel-0 failed; the end of exp/log/train-logmel-0.log:" in problems
    assert "exp/tasks/logmel-0" in problems.partition("failed; the end of")[2]
    assert (recipe / "exp/tasks/mfcc-0/sid/done.json").is_file()


def test_asked_to_end_it_ends(top):
    """A queue's SIGTERM ends the whole suite behind a checkpoint, not one task of it."""
    recipe = top / "egs/toy"
    process = start([sys.executable, "-m", "speechrep", "suite", "train", "--upstream", "mfcc", "--task", "intent,sid", "--exp",
                     "asked", "--conf", "conf", *LONG], recipe)
    deadline = time.monotonic() + 600
    while not (recipe / "asked/tasks/mfcc-0/intent/last.pt").is_file():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.terminate()
    said, problems = process.communicate(timeout=600)
    assert process.returncode == 143, problems[-3000:]
    assert "the checkpoint is written" in problems and said.count("+ speechrep train") == 1
    assert not (recipe / "asked/tasks/mfcc-0/sid").exists()


def test_what_is_done_is_left_alone(top, monkeypatch, capsys):
    """Seeds by commas; once more does nothing; the commands stand beside the scores."""
    monkeypatch.chdir(top / "egs/toy")
    options = ["--upstream", "mfcc", "--task", "sid,intent", "--exp", "twice", "--seed", "0,1"]
    assert main(["suite", "train", *options]) == 0 and main(["suite", "score", *options]) == 0
    assert "mfcc (2 seeds)" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in Path("twice/tasks").rglob("*") if path.suffix in (".pt", ".json")}
    assert len([path for path in before if path.name == "score.json"]) == 4
    assert main(["suite", "train", *options]) == 0 and main(["suite", "score", *options]) == 0
    assert capsys.readouterr().out.count("already trained") == 4
    assert before == {path: path.stat().st_mtime_ns for path in before}
    provenance = read_score("twice/tasks/mfcc-1/sid/test/score.json")["provenance"]
    assert provenance["command"].startswith("speechrep score predictions") and provenance["config"]["lr"] == [0.02]
    trained = read_json("twice/tasks/mfcc-1/sid/done.json")["provenance"]
    assert trained["command"].startswith("speechrep train --conf conf/sid.yaml --upstream mfcc") and trained["seed"] == 1


def test_a_folder_in_the_format_of_transformers(top, tmp_path, monkeypatch, capsys):
    transformers = pytest.importorskip("transformers")
    monkeypatch.chdir(top / "egs/toy")
    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)).save_pretrained(tmp_path / "released")
    for part in ("train", "dev", "test"):
        dump(Path("data") / part, Path("wide/logmel") / part, replace(FEATURES, rate_hz=16000, hop_samples=160), cmvn=True)
    options = ["--upstream", f"released={tmp_path / 'released'}", "--task", "sid,abx", "--exp", "released", "--dump", "wide"]
    assert main(["suite", "train", *options]) == 0 and main(["suite", "score", *options]) == 0
    assert "| released |" in capsys.readouterr().out
    abx = read_score("released/tasks/released-0/abx/score.json")
    assert abx["metrics"]["abx_within"]["value"] < 20 and abx["provenance"]["config"]["layer"] in (0, 1, 2)
    assert read_json("released/tasks/released-0/sid/done.json")["parameters"] > 0
    assert len(read_table(Path("released/tasks/released-0/sid/test/hyp"))) == 10


def test_what_came_from_another_checkpoint(top, monkeypatch, capsys):
    """A task's checkpoint that has changed is decoded and scored anew; an upstream's is scored anew where nothing is
    trained, and refused where something was, until that is removed."""
    monkeypatch.chdir(top / "egs/toy")
    shutil.copytree("exp/apc", "other/apc")
    options = ["--upstream", "apc=other/apc/small-0/best.pt", "--task", "intent,abx", "--exp", "stale"]
    exp = Path("stale/tasks/apc-0")
    hyp, intent, abx = exp / "intent/test/hyp", exp / "intent/test/score.json", exp / "abx/score.json"

    def times():
        return [path.stat().st_mtime_ns for path in (hyp, intent, abx)]

    assert main(["suite", "train", *options]) == 0 and main(["suite", "score", *options]) == 0
    before = times()
    assert main(["suite", "score", *options]) == 0 and times() == before
    content = checkpoint.load(exp / "intent/best.pt")
    content["model"]["out.bias"] = 100.0 * torch.arange(len(content["labels"]))
    checkpoint.save(exp / "intent/best.pt", content)
    assert main(["suite", "score", *options]) == 0
    assert [old == new for old, new in zip(before, times())] == [False, False, True]
    assert len(set(read_table(hyp).values())) == 1, "the last class of each slot is said of all"

    content = checkpoint.load("other/apc/small-0/best.pt")
    content["model"] = {key: 1.1 * value if value.is_floating_point() else value for key, value in content["model"].items()}
    checkpoint.save("other/apc/small-0/best.pt", content)
    caches = set(Path("dump/layers").glob("small-0-*"))
    before, worth = times(), read_score(abx)["metrics"]
    assert main(["suite", "score", *options]) == 0
    assert [old == new for old, new in zip(before, times())] == [True, True, False]
    assert read_score(abx)["metrics"] != worth and len(set(Path("dump/layers").glob("small-0-*")) - caches) == 1
    capsys.readouterr()
    assert main(["suite", "train", *options]) == 1
    assert "another configuration or seed (upstream_digest was" in capsys.readouterr().err
    shutil.rmtree(exp / "intent")
    assert main(["suite", "train", *options]) == 0


def test_labels_that_were_mended(top, monkeypatch, capsys):
    """They are decoded and scored anew, and not learned from beside the old; new units, from which nothing is decoded, change
    nothing."""
    monkeypatch.chdir(top / "egs/toy")
    shutil.copytree("data", "mended")
    options = ["--upstream", "mfcc", "--task", "sid,abx", "--exp", "labels", "--data", "mended"]
    tasks = Path("labels/tasks/mfcc-0")
    ref, score, abx = (tasks / name for name in ("sid/test/ref", "sid/test/score.json", "abx/score.json"))

    def times():
        return [path.stat().st_mtime_ns for path in (ref, score, abx)]

    assert main(["suite", "train", *options]) == 0 and main(["suite", "score", *options]) == 0
    before = times()
    shutil.copy("mended/test/units.toy", "mended/test/units.more")
    assert main(["suite", "score", *options]) == 0
    assert times() == before
    speakers = read_table("mended/test/utt2spk")
    utt = next(utt for utt, speaker in speakers.items() if speaker == "spk0")
    Path("mended/test/utt2spk").write_text(table_text(speakers | {utt: "spk1"}))
    worth = read_score(abx)["metrics"]
    assert main(["suite", "score", *options]) == 0
    assert read_table(ref)[utt] == "spk1" and not set(times()) & set(before)
    assert read_score(abx)["metrics"] != worth
    before = times()
    Path("mended/dev/text").write_text(table_text({utt: f"{line} k" for utt, line in read_table("mended/dev/text").items()}))
    assert main(["suite", "score", *options]) == 0
    assert [old == new for old, new in zip(before, times())] == [True, True, False], "dev chooses the layer of ABX alone"
    Path("mended/dev/utt2spk").write_text(table_text(read_table("mended/dev/utt2spk") | {"other": "spk1"}))
    assert main(["suite", "train", *options]) == 1, "the weights were chosen on other labels"
    assert "a run on other data: utt2dur, utt2lang, utt2spk in mended/train or mended/dev have changed" in capsys.readouterr().err
    shutil.rmtree(tasks / "sid")
    assert main(["suite", "train", *options]) == 0


def test_one_that_fails_does_not_keep_the_others(top, monkeypatch, capsys):
    monkeypatch.chdir(top / "egs/toy")
    options = ["--upstream", "logmel", "--task", "intent,sid", "--exp", "failing"]
    Path("failing/tasks/logmel-0").mkdir(parents=True)
    Path("failing/tasks/logmel-0/intent").write_text("in the way")
    assert main(["suite", "train", *options]) == 1
    assert Path("failing/tasks/logmel-0/sid/done.json").is_file()
    problems = capsys.readouterr().err
    assert "1 failed" in problems and "--conf conf/intent.yaml" in problems


def test_habits_of_the_reference_are_named(top, monkeypatch, capsys):
    """They go to a folder of their own, and only those that a task has are taken on."""
    monkeypatch.chdir(top / "egs/toy")
    options = ["--upstream", "mfcc", "--task", "sid,frame_phones", "--exp", "habits", "--superb-compatible"]
    assert main(["suite", "train", *options]) == 0 and main(["suite", "score", *options]) == 0
    told = capsys.readouterr().err
    assert "superb-compatible: sid: model.within=: the choice is among all speakers" in told
    assert "superb-compatible: frame_phones: as it is: none of the reference's habits" in told
    score = read_score("habits/tasks/mfcc-0/sid.superb/test/score.json")
    assert score["provenance"]["config"]["model"]["within"] == "" and Path("habits/tasks/mfcc-0/frame_phones/best.pt").is_file()


def test_a_sweep_in_the_row(top, monkeypatch, capsys):
    pytest.importorskip("optuna", reason="the extra `suite` is not installed")
    monkeypatch.chdir(top / "egs/toy")
    options = ["--upstream", "mfcc", "--task", "intent", "--exp", "swept"]
    assert main(["suite", "train", *options, "--sweep"]) == 0 and main(["suite", "train", *options]) == 0
    assert main(["suite", "score", *options]) == 0
    chosen = read_json("swept/tasks/mfcc-0/intent/sweep.json")["lr"]
    assert read_json("swept/METHODS.json")["systems"][0]["scores"]["intent:accuracy:test"]["lr"] == [chosen]
    assert f"Learning rates: intent {chosen:g}." in capsys.readouterr().out


def test_stages_are_named(top):
    for words, code in ((["unheard"], 2), ([], 2)):
        done = start([top / "utils/evaluate.sh", *words], top / "egs/toy")
        assert "wanted: tasks, train, score or report" in done.communicate(timeout=600)[1] and done.returncode == code
