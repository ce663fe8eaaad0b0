"""The sweep of learning rates: the winner is the run that training would make, and a kill changes nothing."""

import json
import shutil

import pytest
import torch
from suite_corpus import make_recipe

from speechrep.bin import main
from speechrep.errors import SpeechrepError
from speechrep.files import read_json, write_json
from speechrep.tasks import sweep as module
from speechrep.tasks.sweep import sweep
from speechrep.tasks.train import train_task
from speechrep.train import checkpoint

pytest.importorskip("optuna", reason="the extra `suite` is not installed")
GRID = (1e-3, 3e-2, 1e-5, 1e-2)
SET = ["train.steps=12", "train.dev_every=2"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    torch.set_num_threads(1)
    return make_recipe(tmp_path_factory.mktemp("sweep"))


def run(recipe, exp, grid=GRID, overrides=(), **options):
    return sweep(recipe / "conf/intent.yaml", "logmel", recipe / "data/train", recipe / "data/dev", recipe / "dump", exp,
                 grid, device="cpu", overrides=[*SET, *overrides], **options)


def told(exp):
    """All that a sweep leaves, less times and places."""
    found = {"record": {key: value for key, value in read_json(exp / "sweep.json").items() if key != "provenance"},
             "model": checkpoint.load(exp / "best.pt")["model"]}
    for path in sorted(exp.rglob("log.jsonl")):
        found[str(path.relative_to(exp))] = path.read_text()
    return found


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other["model"][key]) for key, value in one["model"].items())
    assert {key: value for key, value in one.items() if key != "model"} == {
        key: value for key, value in other.items() if key != "model"}


@pytest.fixture(scope="module")
def quiet(recipe):
    run(recipe, recipe / "quiet")
    return recipe / "quiet"


def test_bad_rates_are_stopped_and_the_best_wins(recipe, quiet):
    found = read_json(quiet / "sweep.json")
    state = {trial["lr"]: (trial["state"], trial["step"]) for trial in found["trials"]}
    # 0.001 has no rival yet, 0.03 beats it at both rungs (2 and 6); 0.00001 is the worst of three at the first rung.
    assert state[1e-3] == ("finished", 12) and state[3e-2] == ("finished", 12) and state[1e-5] == ("pruned", 2)
    finished = [trial for trial in found["trials"] if trial["state"] == "finished"]
    assert found["lr"] == min(finished, key=lambda trial: (trial["best"], trial["loss"]))["lr"] == 3e-2
    lines = [json.loads(line) for line in (quiet / "log.jsonl").read_text().splitlines()]
    dev = [(line["error"], line["loss"]) for line in lines if line["part"] == "dev"]
    assert min(dev) == next((trial["best"], trial["loss"]) for trial in finished if trial["lr"] == 3e-2)
    assert [trial["best"] for trial in finished].count(0) > 1, "of equal errors the less loss wins"
    assert not list((quiet / "lr").rglob("*.pt"))
    assert found["provenance"]["config"]["grid"] == list(GRID)


@pytest.mark.parametrize("steps, every, warmup, first", [
    (300, 75, 30, 75), (3000, 250, 100, 500), (1000, 100, 300, 300), (1000, 100, 310, 400), (50, 100, 10, 50), (50, 10, 80, 50)])
def test_where_rates_are_compared_first(steps, every, warmup, first):
    """At an evaluation, behind the warm-up and a ninth of the steps; where there is none, at the end."""
    assert module.first_rung({"steps": steps, "dev_every": every, "warmup": warmup}, reduction=3) == first


def test_of_equal_errors_the_less_loss_goes_on(tmp_path):
    """Two rates without an error on dev at the first rung: the one that came later is not out for that."""
    study = module._study({"steps": 12, "dev_every": 2, "warmup": 0}, reduction=3)
    went_on = []
    for error, loss in ((0.0, 0.5), (0.0, 0.4), (0.0, 0.6), (0.1, 0.1)):
        run = tmp_path / str(len(went_on))
        run.mkdir()
        (run / "log.jsonl").write_text(json.dumps({"step": 2, "part": "dev", "error": error, "loss": loss}) + "\n")
        try:
            module._Watch(study.ask(), run, "error")()
            went_on.append(True)
        except module._Pruned:
            went_on.append(False)
    assert went_on == [True, True, False, False]


def test_the_winner_is_the_run_that_training_makes(recipe, quiet, tmp_path, capsys):
    parts = recipe / "data/train", recipe / "data/dev", recipe / "dump"
    train_task(recipe / "conf/intent.yaml", "logmel", *parts, tmp_path / "plain", device="cpu",
               overrides=[*SET, "train.lr=3e-2"])
    one, other = (checkpoint.load(exp / "best.pt")["model"] for exp in (quiet, tmp_path / "plain"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert (quiet / "log.jsonl").read_text() == (tmp_path / "plain/log.jsonl").read_text()
    train_task(recipe / "conf/intent.yaml", "logmel", *parts, quiet, device="cpu", overrides=[*SET, "train.lr=3e-2"])
    assert "already trained" in capsys.readouterr().out


@pytest.mark.parametrize("saves", [2, 5, 9])
def test_a_sweep_that_was_killed_goes_on(recipe, quiet, tmp_path, monkeypatch, saves):
    """Stopped in the midst of a run, at the first checkpoints of a rate or at later ones."""
    save, count = checkpoint.save, [0]

    def dies(path, content):
        count[0] += path.name == "last.pt"
        if count[0] == saves:
            raise KeyboardInterrupt
        save(path, content)

    monkeypatch.setattr(checkpoint, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "loud")
    monkeypatch.setattr(checkpoint, "save", save)
    assert not (tmp_path / "loud/sweep.json").exists()
    run(recipe, tmp_path / "loud")
    same(told(quiet), told(tmp_path / "loud"))


def test_the_last_moment(recipe, quiet, tmp_path, monkeypatch):
    """Killed between the choice and the winner's taking its place; what was tried is not tried again."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "_take", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "loud")
    monkeypatch.setattr(module, "train_task", None)
    for _ in range(2):
        run(recipe, tmp_path / "loud")
        same(told(quiet), told(tmp_path / "loud"))


def test_a_sweep_of_an_earlier_version_is_taken_as_it_is(recipe, quiet, tmp_path):
    """Fields that it did not know have their defaults."""
    shutil.copytree(quiet, tmp_path / "early")
    record = read_json(quiet / "sweep.json")
    for section, name in (("model", "finetune_from"), ("train", "ramps")):
        del record["asked"]["experiment"][section][name]
    write_json(tmp_path / "early/sweep.json", record)
    assert run(recipe, tmp_path / "early")["lr"] == record["lr"]


def test_what_is_refused(recipe, quiet, tmp_path):
    with pytest.raises(SpeechrepError, match="another configuration, grid or seed"):
        run(recipe, quiet, (1e-3, 1e-2))
    with pytest.raises(SpeechrepError, match="every learning rate of 1e\\+37, 1e\\+38 diverged"):
        run(recipe, tmp_path / "wild", (1e37, 1e38))
    record = read_json(quiet / "sweep.json")
    (tmp_path / "changed").mkdir()
    write_json(tmp_path / "changed/sweep.json", record | {"asked": record["asked"] | {"upstream_digest": "of another"}})
    with pytest.raises(SpeechrepError, match="an upstream or data that have changed since"):
        run(recipe, tmp_path / "changed")
    shutil.copytree(quiet, tmp_path / "plain", ignore=shutil.ignore_patterns("sweep.json"))
    with pytest.raises(SpeechrepError, match="a run, made without a sweep"):
        run(recipe, tmp_path / "plain")
    for grid, reduction in (((1e-3,), 3), ((1e-3, 0.0), 3), (GRID, 1)):
        with pytest.raises(SpeechrepError, match="a grid of"):
            run(recipe, tmp_path / "none", grid, reduction=reduction)


def test_the_verb(recipe, tmp_path, capsys, monkeypatch):
    arguments = ["sweep", "--conf", str(recipe / "conf/intent.yaml"), "--upstream", "mfcc", "--train", str(recipe / "data/train"),
                 "--dev", str(recipe / "data/dev"), "--dump", str(recipe / "dump"), "--exp", str(tmp_path / "exp"), "--device",
                 "cpu", "--grid"]
    assert main([*arguments, "1e-2,1e-4"]) == 0
    assert capsys.readouterr().out.endswith("exp: lr 0.01\n")
    # What is done asks for no features of its upstream.
    for verb in (arguments[0], "train"):
        again = [verb, *arguments[1:-1], "--cache", str(tmp_path / "layers"), "--set", "train.lr=0.01"]
        with monkeypatch.context() as patch:
            patch.setattr("speechrep.tasks.train.fill_cache", None)
            assert main(again if verb == "train" else [*again[:-2], "--grid", "1e-2,1e-4"]) == 0
    assert main([*arguments, "much"]) == 1 and "--grid much" in capsys.readouterr().err
