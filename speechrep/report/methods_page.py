"""The page of methods: the table of systems by tasks, pictures of it, the layers that tasks listen to, loss curves."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechrep.errors import SpeechrepError
from speechrep.report import collect, listen, methods, methods_plots, methods_table, plots
from speechrep.report.differences import compare
from speechrep.report.page import Figure, Section, credits_of, curves_section, data_section, render, runs_section, say
from speechrep.train import checkpoint


def make_methods_page(exp: Path, data: Path, out: Path, title: str = "", credits: list[Path] = (),
                      earlier: Path | None = None, against: list[str] = ()) -> Path:
    """Write OUT/methods.html, of all that stands in EXP/tasks and of the runs in EXP, and return its path.

    One file that needs no network; what is missing is named with the command that makes it. credits: text files that
    must go with the corpus's audio. earlier, against: as of `write_pictures`. Raises `SpeechrepError` for a missing
    `exp`, an unreadable file of credits, and a score file that is none.
    """
    if not exp.is_dir():
        raise SpeechrepError(f"{exp}: no such folder", "an experiment folder", "run the earlier stages")
    said, runs = credits_of(credits), collect.find_runs(exp)
    pretrained = [run for run in runs if not run.name.startswith("tasks/")]
    sections = [*_table(exp, earlier, against), _layers(exp), _overview(pretrained), curves_section(pretrained, closed=True),
                runs_section(runs), data_section(data, said)]
    return render(sections, title or f"{exp.resolve().parent.name}: methods", out / "methods.html")


def _table(exp: Path, earlier: Path | None, against: list[str]) -> list[Section]:
    table, picture = Section("methods", "Systems by tasks"), Section("bars", "In pictures")
    if earlier is None and not any((exp / "tasks").rglob("score.json")):
        table.missing = picture.missing = "No scores yet. Stage 7 makes them: utils/evaluate.sh score."
        return [table, picture]
    found = methods.collect_methods(exp, earlier)
    say(f"{len(found['systems'])} systems, {len(found['columns'])} columns")
    best = methods_table.best_of(found)
    floors = [kind for kind in methods.FLOORS if any(kind in row["beats"] for row in found["systems"])]
    rows = []
    for row in found["systems"]:
        cells = [(*methods_table.cell_parts(row, column["key"]), not row["floor"] and column["key"] in row["scores"]
                  and best.get(column["key"]) == row["scores"][column["key"]]["value"]) for column in found["columns"]]
        rows.append({"system": row["system"] + " †" * ("earlier" in row), "floor": row["floor"],
                     "seeds": len(row["seeds"]), "cells": cells,
                     "verdicts": [methods_table.verdict(row["beats"].get(kind)) for kind in floors],
                     "costs": methods_table.costs(row), "upstreams": row["upstreams"], "paths": _paths(row)})
    table.content = {"heads": [methods_table.heading(column) for column in found["columns"]], "rows": rows, "floors": floors,
                     "legend": methods_table.legend(found)}
    picture.content["figures"] = [Figure(
        listen.data_uri(plots.svg(methods_plots.bars(found)), "image/svg+xml"), "Systems by tasks as bars with intervals",
        "A bar for each system with its 95 % interval. The dashed line is MFCC; floors (plain features, untrained networks) "
        "are light. The arrow says which way is better.")]
    picture.content["figures"] += [Figure(
        listen.data_uri(plots.svg(methods_plots.ahead(found, one)), "image/svg+xml"), methods_table.title_of(one),
        f"{methods_table.title_of(one)}: the mean difference and its 95 % interval over seeds, dark where the interval leaves "
        "zero out.") for one in compare(found, against)]
    return [table, picture]


def _paths(row: dict[str, Any]) -> list[str]:
    return sorted({path for entry in row["scores"].values() for path in entry["path"]})


def find_weights(exp: Path) -> dict[str, dict[str, np.ndarray]]:
    """SYSTEM-SEED -> task -> the weights [L] of the layers that a task learned, of tasks that see more than one. Of
    several folds the mean."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    tasks = exp / "tasks"
    for path in sorted([*tasks.glob("*/*/best.pt"), *tasks.glob("*/*/fold*/best.pt")]):
        content = checkpoint.load(path, mapped=True)
        scalars = content["model"].get("layer_scalars", torch.zeros(1))
        if len(scalars) > 1:
            system, task = path.relative_to(tasks).parts[:2]
            found.setdefault(system, {}).setdefault(task, []).append(scalars.float().softmax(0).numpy())
    return {system: {task: np.mean(folds, 0) for task, folds in own.items()} for system, own in found.items()}


def _layers(exp: Path) -> Section:
    section = Section("layers", "Layers by tasks")
    weights = find_weights(exp)
    if not weights:
        section.missing = "No task has learned weights of several layers yet. Stage 6 makes them: utils/evaluate.sh train."
        return section
    section.content["figures"] = [Figure(
        listen.data_uri(plots.png(methods_plots.layer_weights(weights)), "image/png"), "Weights of layers by task",
        "The softmax of each task's learned weights over the upstream's layers (0: the input of the first block), times "
        "their number: 1 is an even share. White: the task does not see that layer.")]
    return section


def _overview(runs: list[collect.Run]) -> Section:
    section = Section("overview", "Training of the methods")
    logs = {run.name: run.log for run in runs if any(run.log.values())}
    if not logs:
        section.missing = "No training runs yet. Stage 5 makes them: speechrep pretrain."
        return section
    section.content["figures"] = [Figure(
        listen.data_uri(plots.svg(methods_plots.overview(logs)), "image/svg+xml"), "Loss of every run by step",
        "What each run lost by step, its losses weighted and added. Losses of different methods cannot be compared.")]
    return section
