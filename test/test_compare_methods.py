"""Methods side by side through utils/compare_methods.sh: units, a second iteration behind the first, tasks, the table."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from recipe_tree import verbs_of_recipe
from suite_corpus import TRAIN, make_recipe, write_conf
from verb_server import speechrep_at_once

from speechrep.config import read_yaml
from speechrep.files import read_json

ROOT = Path(__file__).resolve().parents[1]
NETWORK = {"front": "mel", "front_dim": 16, "layers": 2, "dim": 16, "heads": 2, "ffn_dim": 32, "position_kernel": 8,
           "dropout": 0.0, "attention_dropout": 0.0, "input_dropout": 0.0, "layerdrop": 0.0, "guard_steps": 100}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    torch.set_num_threads(1)
    top = tmp_path_factory.mktemp("checkout")
    recipe = make_recipe(top / "egs/toy")
    shutil.rmtree(recipe / "exp")
    write_conf(recipe, "units", {"clusters": 6})
    write_conf(recipe, "hubert", {"method": "hubert", "model": NETWORK | {"units": "mfcc", "codes": 6, "unit_rate_hz": 100},
                                  "weights": {"masked": 1.0, "penalty": 0.0}, "train": TRAIN})
    write_conf(recipe, "apc", {"method": "apc", "model": {"dim": 16, "layers": 2, "dropout": 0.0},
                               "weights": {"prediction": 1.0}, "train": TRAIN})
    program = top / "bin/speechrep"
    program.parent.mkdir()
    program.symlink_to(speechrep_at_once())
    return recipe


def run(recipe, stage, method, nj=2, seed="0", task="intent", fails=False):
    """What it says, on stderr where it is to fail."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "method": method, "task": task,
                                "seed": seed, "nj": str(nj), "processes": "1"}
    environment["PATH"] = f"{recipe.parents[1] / 'bin'}:{environment['PATH']}"
    answer = subprocess.run([ROOT / "utils/compare_methods.sh", stage], cwd=recipe, env=environment, capture_output=True,
                            text=True, timeout=300)
    assert (answer.returncode != 0) == fails, answer.stderr[-3000:]
    return answer.stderr if fails else answer.stdout


def test_from_units_to_the_table(recipe):
    methods = "hubert,hubert2,apc"
    run(recipe, "units", methods)
    said = run(recipe, "pretrain", methods)
    assert sorted(line.split(":")[0] for line in said.splitlines() if "done in" in line) == [
        "pretrain-apc-0", "pretrain-hubert-0"], "the second iteration is trained behind the first"
    first, second = (read_json(recipe / f"exp/{method}/small-0/done.json") for method in ("hubert", "hubert2"))
    assert first["provenance"]["config"]["model"]["units"] == "mfcc"
    assert second["provenance"]["config"]["model"]["units"] == "hubert1-0"
    shutil.rmtree(recipe / "exp/hubert2")
    assert "pretrain-hubert2-0: done" in run(recipe, "pretrain", "hubert2", nj=1), "alone, now that the first is there"
    for stage in ("train", "score"):
        said = run(recipe, stage, "apc")
    table = read_json(recipe / "exp/METHODS.json")
    assert {row["system"] for row in table["systems"]} == {"apc-small", "mfcc", "logmel", "random-apc"}
    assert next(row for row in table["systems"] if row["system"] == "apc-small")["beats"]["random"]["floor"] == "random-apc"
    assert "| apc-small |" in said


def test_several_seeds(recipe):
    said = run(recipe, "pretrain", "apc", seed="3,4")
    assert sorted(line.split(":")[0] for line in said.splitlines() if "done in" in line) == [
        "pretrain-apc-3", "pretrain-apc-4"]
    assert read_json(recipe / "exp/apc/small-4/done.json")["provenance"]["config"]["seed"] == 4


def test_nothing_is_trained_for_a_task_without_labels(recipe):
    assert "qbe: " in run(recipe, "pretrain", "apc", seed="7", task="intent,qbe", fails=True)
    assert not (recipe / "exp/apc/small-7").exists()


def ask(folder, script, stage, **settings):
    """Run a stage with a `speechrep` that notes its arguments; all that was noted in the folder up to now."""
    program = folder / "bin/speechrep"
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/bash\necho "$*" >>said\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "method": "hubert,hubert2", "task": "asr",
                                "seed": "0", "nj": "1", "processes": "1"} | settings
    subprocess.run([ROOT / "utils" / script, stage], cwd=folder, env=environment, check=True, timeout=600)
    return (folder / "said").read_text()


def test_what_another_is_to_come_before_is_asked_for_at_once(tmp_path, capfd):
    """Discrete BERT learns from units of vq-wav2vec: trained before, or in the same run."""
    with pytest.raises(subprocess.CalledProcessError):
        ask(tmp_path, "compare_methods.sh", "pretrain", method="apc,discrete_bert", seed="0,1")
    assert "no exp/vq_wav2vec/small-0/best.pt, from whose units discrete_bert learns" in capfd.readouterr().err
    assert "pretrain" not in (tmp_path / "said").read_text()
    for seed in (0, 1):
        (tmp_path / f"exp/vq_wav2vec/small-{seed}").mkdir(parents=True)
        (tmp_path / f"exp/vq_wav2vec/small-{seed}/best.pt").touch()
    assert ask(tmp_path, "compare_methods.sh", "pretrain", method="apc,discrete_bert", seed="0,1").count("pretrain --conf") == 4


@pytest.mark.parametrize("options, runs", [
    (["--tag", "x"], ["small-0"]), (["--seed", "1,2"], ["small-1", "small-2"]), (["--method", "apc"], []),
    (["--method", "apc,resdavenet_vq", "--tag", "x", "--seed", "0,3"], ["small-x-0", "small-x-3"]),
    (["--method", "all"], ["small-0"]), (["--method", "resdavenet_vq", "--upstream", "mfcc"], [])])
def test_tuxpaint_looks_for_pictures_with_what_it_trained(tmp_path, options, runs):
    """In its stages 5 to 7."""
    said = verbs_of_recipe("tuxpaint", tmp_path, "--stage", "5", "--stop-stage", "7", *options)
    for verb, option, path in (("pretrain --conf conf/resdavenet_vq.yaml", "--exp", "exp/resdavenet_vq/{}"),
                               ("score pictures", "--checkpoint", "exp/resdavenet_vq/{}/best.pt")):
        lines = [words for words in said if words[:len(verb.split())] == verb.split()]
        assert sorted(words[words.index(option) + 1] for words in lines) == [path.format(run) for run in runs]
        assert all(words[words.index("--seed") + 1] == run.rpartition("-")[2] for words, run in zip(sorted(lines), runs))


def test_the_device_goes_to_whatever_has_one(tmp_path):
    for stage in ("units", "pretrain", "train", "score", "report"):
        ask(tmp_path, "compare_methods.sh", stage, device="cuda:1")
    # Of one system alone, what its tasks share is computed before.
    said = ask(tmp_path, "evaluate.sh", "train", device="cuda:1", upstream="mfcc").splitlines()
    having = [line for line in said if not line.startswith(("suite tasks", "suite table", "suite report"))]
    assert {" ".join(line.split()[:2]).partition(" --")[0] for line in having} == {
        "units", "pretrain", "suite extract", "suite train", "suite score"}
    assert [line for line in having if " --device cuda:1 " not in f"{line} "] == []
    assert [line for line in said if line not in having and "--device" in line] == []


def test_iterations_follow_one_another(tmp_path):
    said = ask(tmp_path, "compare_methods.sh", "pretrain", method="hubert,apc", iteration="3").splitlines()
    steps = [line for line in said if "hubert" in line]
    assert [line.split("--exp ")[1].split()[0] if line.startswith("pretrain") else line.split("--name ")[1].split()[0]
            for line in steps] == ["exp/hubert/small-0", "hubert1-0", "exp/hubert2/small-0", "hubert2-0", "exp/hubert3/small-0"]
    assert "--upstream exp/hubert2/small-0/best.pt" in steps[3] and "model.units=hubert2-0" in steps[4]
    assert all("--set clusters=200" in line for line in (steps[1], steps[3]))
    assert ["--set model.codes=200" in line for line in steps] == [False, False, True, False, True]
    assert "hubert3-small=" in ask(tmp_path, "compare_methods.sh", "train", method="hubert,apc", iteration="3")


def test_all_is_every_small_configuration_and_the_second_iteration(tmp_path):
    said = ask(tmp_path, "compare_methods.sh", "pretrain", method="all").splitlines()
    trained = [line.split("--exp exp/")[1].split("/")[0] for line in said if line.startswith("pretrain")]
    small = {path.stem for path in (ROOT / "egs/mini/conf").glob("*.yaml") if "method" in read_yaml(path)
             and not path.stem.endswith("_base")} - {"full", "quick", "duration", "vocoder"}
    assert sorted(trained) == sorted(small | {"hubert2", "ctap"})


@pytest.mark.parametrize("method, iteration, upstream", [
    ("ctap", "2", ""), ("apc,hubert2", "2", ""), ("hubert", "0", ""), ("hubert", "10", ""), ("hubert", "2", "mfcc")])
def test_iterations_that_there_are_not_are_refused_before_anything_runs(method, iteration, upstream):
    answer = subprocess.run([ROOT / "egs/mini/run.sh", "--method", method, "--iteration", iteration, "--upstream", upstream],
                            capture_output=True, text=True, timeout=60)
    assert answer.returncode == 2 and f"--iteration {iteration}; wanted: 1 to 9" in answer.stderr and "stage 0" not in answer.stdout


def test_a_tag_names_trainings_units_and_systems_apart(tmp_path):
    ask(tmp_path, "compare_methods.sh", "pretrain", tag="long")
    said = ask(tmp_path, "compare_methods.sh", "train", tag="long")
    for words in ("--exp exp/hubert/small-long-0", "--name hubert1-long-0 --upstream exp/hubert/small-long-0/best.pt",
                  "--exp exp/hubert2/small-long-0 --set model.units=hubert1-long-0",
                  "--upstream hubert-small-long=exp/hubert/small-long-{seed}/best.pt",
                  "random-hubert-small-long=random:exp/hubert/small-long-{seed}/best.pt"):
        assert f"{words} " in said or f"{words}\n" in said or f"{words}," in said, words
    assert "small-0" not in said and "hubert1-0" not in said and "random-hubert2" not in said and "random-hubert=" not in said
