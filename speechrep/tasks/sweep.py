"""The learning rate of a task, chosen on dev: successive halving over a grid (Li et al., Massively parallel
hyperparameter tuning, arXiv 1810.05934), as optuna's pruner does it.

Rates are tried one after another, each by the run that `speechrep train` would make. At the steps of the rungs, the
first that `first_rung` says and those `reduction` times as far each time, a run goes on only while its dev value, of
equal ones its loss, is among the best 1/`reduction` of those that came so far (the best alone of few). A run that
diverges is out. Of those that reach the end the least dev value over all evaluations wins, of equal ones the less loss
there, as the task's best weights are chosen too.

All that is known stands in the runs' own logs, which are told to the pruner anew whenever the sweep is started: what
was done is not done again, and a sweep that was killed ends as one that nobody disturbed.
"""

import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from speechrep.config import plain, with_defaults
from speechrep.data.dataset import streams_digest
from speechrep.data.folder import DataFolder
from speechrep.errors import Diverged, SpeechrepError
from speechrep.extract import fingerprint
from speechrep.files import read_json, write_json
from speechrep.provenance import provenance
from speechrep.tasks.train import read_experiment, train_task
from speechrep.train.log import read_lines
from speechrep.train.loop import ANOTHER_EXP

GRID = (1e-3, 1e-2, 1e-4, 1e-1, 1e-5)
"""SUPERB's grid of rates (Yang et al. 2021: 1e-1 to 1e-7), cut where heads no longer learn, from the middle outwards: a
good run early on lets the pruner stop the others sooner."""
WEIGHTS = ("best.pt", "last.pt")
TIE, MOST_LOSS = 1e-8, 1e4
"""Share of the loss in what the pruner hears, and its bound: too little to change the order of two error rates of a dev
part, enough to order equal ones."""


class _Pruned(Exception):
    """The pruner's word, on its way out of the training loop."""


class _Watch:
    """Tells a trial every evaluation in a run's log, once, and stops the run when the pruner says so."""

    def __init__(self, trial, run: Path, by: str):
        self.trial, self.run, self.by = trial, run, by
        self.values: dict[int, tuple[float, float]] = {}

    def __call__(self, step: int = 0, values: dict[str, float] | None = None) -> None:
        path = self.run / "log.jsonl"
        for line in read_lines(path) if path.is_file() else ():
            if line.get("part") != "dev" or line["step"] in self.values:
                continue
            self.values[line["step"]] = float(line[self.by]), float(line["loss"])
            # The pruner compares one number only.
            self.trial.report(float(line[self.by]) + TIE * min(float(line["loss"]), MOST_LOSS), line["step"])
            if self.trial.should_prune():
                raise _Pruned


def sweep(conf: Path, upstream: str, train: Path, dev: Path, dump: Path, exp: Path, grid: tuple[float, ...] = GRID,
          reduction: int = 3, seed: int = 0, device: str = "auto", overrides: list[str] | None = None,
          cache: Path | None = None) -> dict[str, Any]:
    """Choose the learning rate of the task in `conf` on `upstream`; returns what sweep.json says.

    Leaves the winner's run in `exp`, as `train_task` would, sweep.json beside it, and the logs of all in exp/lr/RATE.
    The other arguments are those of `train_task`. Raises `SpeechrepError` if every rate diverges, and for an `exp` that
    holds another sweep or a run.
    """
    experiment, cls, config = read_experiment(conf, overrides)
    if len(set(grid)) < 2 or min(grid) <= 0 or reduction < 2:
        raise SpeechrepError(f"a grid of {grid} cut by {reduction}", "two rates or more above 0, cut by 2 or more")
    asked = {"experiment": plain(experiment) | {"model": plain(config)}, "upstream": upstream, "seed": seed,
             "grid": list(grid), "reduction": reduction, "by": cls.selects_of(config),
             "upstream_digest": fingerprint(upstream, DataFolder(train), dump),
             "data_digest": streams_digest((DataFolder(train), DataFolder(dev)), cls.needs_of(config))}
    record = exp / "sweep.json"
    if record.is_file() and _as_now(read_json(record)["asked"], experiment.train, config, asked) != asked:
        raise SpeechrepError(f"{record}: a sweep of another configuration, grid or seed, or of an upstream or data that have "
                             "changed since",
                             cure=f"{ANOTHER_EXP}, or remove the folder")
    if not record.is_file():
        if (exp / "last.pt").is_file():
            raise SpeechrepError(f"{exp}: a run, made without a sweep", cure=f"{ANOTHER_EXP}, or remove the folder")
        trials = _try_all(asked, conf, train, dev, dump, exp, device, overrides or [], cache)
        whole = [trial for trial in trials if trial["state"] == "finished" and trial["best"] is not None]
        if not whole:
            raise SpeechrepError(f"{exp}: every learning rate of {', '.join(f'{rate:g}' for rate in grid)} diverged",
                                 "one that learns", "name lower ones with --grid, or look at the data")
        best = min(whole, key=lambda trial: (trial["best"], trial["loss"]))
        data = {path.name: {"utterances": len(DataFolder(path).utts)} for path in (train, dev)}
        write_json(record, {"asked": asked, "lr": best["lr"], "trials": trials,
                            "provenance": provenance(sys.argv, asked, seed, data)})
    found = read_json(record)
    _take(exp, _run_of(exp, found["lr"]))
    return found


def _as_now(before: dict[str, Any], train: Any, model: Any, now: dict[str, Any]) -> dict[str, Any]:
    """What an earlier version was asked, with what it did not know of the configuration and did not note of what it read."""
    known = before["experiment"]
    filled = {name: with_defaults(type(config), known[name]) for name, config in (("train", train), ("model", model))}
    return {name: now[name] for name in ("upstream_digest", "data_digest")} | before | {"experiment": known | filled}


def _study(train: dict[str, Any], reduction: int):
    try:
        import optuna
    except ImportError:
        raise SpeechrepError("optuna is not installed", "the package that stops bad runs early",
                             "pip install speechrep[suite]") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="minimize", pruner=optuna.pruners.SuccessiveHalvingPruner(
        min_resource=first_rung(train, reduction), reduction_factor=reduction))


def first_rung(train: dict[str, Any], reduction: int) -> int:
    """The step at which rates are compared first: an evaluation, behind the warm-up and not before 1/`reduction`² of the
    steps, since what is learnt late, as intents are, shows nothing of a rate early on."""
    every, warmup, steps = (train[name] for name in ("dev_every", "warmup", "steps"))
    return min(every * max(1, math.ceil(max(warmup, steps / reduction ** 2) / every)), steps)


def _run_of(exp: Path, rate: float) -> Path:
    return exp / "lr" / f"{rate:g}"


def _try_all(asked: dict[str, Any], conf: Path, train: Path, dev: Path, dump: Path, exp: Path, device: str,
             overrides: list[str], cache: Path | None) -> list[dict[str, Any]]:
    """Every rate of the grid, in its order: lr, state (finished, pruned or diverged), its last step, best dev value and
    the loss there."""
    study = _study(asked["experiment"]["train"], asked["reduction"])
    import optuna
    rates = optuna.distributions.CategoricalDistribution(asked["grid"])
    trials = []
    for rate in asked["grid"]:
        study.enqueue_trial({"lr": rate})
        trial, run, why = study.ask({"lr": rates}), _run_of(exp, rate), ""
        watch = _Watch(trial, run, asked["by"])
        try:
            watch()
            train_task(conf, asked["upstream"], train, dev, dump, run, asked["seed"], device,
                       [*overrides, f"train.lr={rate!r}"], cache=cache, watch=watch)
            watch()
            state = "finished"
        except _Pruned:
            state = "pruned"
        except Diverged as error:
            state, why = "diverged", error.found
        best, loss = min((pair for pair in watch.values.values() if all(map(math.isfinite, pair))), default=(None, None))
        study.tell(trial, best if state == "finished" else None, state=optuna.trial.TrialState.COMPLETE
                   if state == "finished" and best is not None else optuna.trial.TrialState.PRUNED)
        trials.append({"lr": rate, "state": state, "step": max(watch.values, default=0), "best": best,
                       "loss": loss, "why": why})
        print(f"lr {rate:g}: {state} at step {trials[-1]['step']}, best dev {asked['by']} {best}{': ' * bool(why)}{why}",
              flush=True)
    return trials


def _take(exp: Path, winner: Path) -> None:
    """The winner's run becomes that of `exp`, done.json last; the weights of the others go, which may be large. Can be
    interrupted and done again."""
    for path in sorted(winner.iterdir(), key=lambda path: (path.name == "done.json", path.name)):
        if path.name == "log.jsonl":
            shutil.copy(path, exp / path.name)
        else:
            os.replace(path, exp / path.name)
    for name in WEIGHTS:
        for path in (exp / "lr").glob(f"*/{name}"):
            path.unlink()
