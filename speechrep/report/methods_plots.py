"""The figures of the page of methods: what systems are worth by task, which layers tasks listen to, how training
went."""

import math
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from speechrep.report.differences import certain, compared_columns
from speechrep.report.methods_table import heading
from speechrep.report.plots import DEV, STYLE, TRAIN

SYSTEM, SURE, FLOOR, LINE = "#6b9fd4", "#1f4e79", "#d9a06f", "#8a3f08"


def bars(found: dict[str, Any], columns: int = 4) -> Figure:
    """A small plot for each column of the table, a bar for each system with its interval, and a line at MFCC.

    found: what `speechrep.report.methods.collect_methods` gives. A panel's title says which way is better.
    """
    return _panels([row["system"] for row in found["systems"]], found["columns"], columns,
                   lambda axis, column: _bars(axis, found["systems"], column))


def _bars(axis, systems: list[dict[str, Any]], column: dict[str, Any]) -> None:
    key = column["key"]
    for place, row in enumerate(systems):
        entry = row["scores"].get(key)
        if entry is None:
            axis.text(0.02, place, "–", va="center", color="#98a4ae", transform=axis.get_yaxis_transform())
            continue
        axis.barh(place, entry["value"], color=FLOOR if row["floor"] else SYSTEM, height=0.66)
        if entry["low"] is not None:
            axis.plot([entry["low"], entry["high"]], [place, place], color="#1c242b", linewidth=1.1)
    reference = next((row["scores"][key]["value"] for row in systems
                      if row["system"] == "mfcc" and key in row["scores"]), None)
    if reference is not None:
        _line(axis, reference)
    axis.set_xlabel("← better" if column["better"] == "lower" else "better →", fontsize=8)


def ahead(found: dict[str, Any], differences: dict[str, Any], columns: int = 4) -> Figure:
    """A small plot for each column: how far each system is ahead of another, with its interval, right of zero where it is
    better; pale where the interval has zero in it, or there is none.

    found, differences: what `collect_methods` and `speechrep.report.differences.find_differences` give.
    """
    rows = differences["rows"]
    return _panels([row["system"] for row in rows], compared_columns(found, differences), columns,
                   lambda axis, column: _ahead(axis, rows, column))


def _ahead(axis, rows: list[dict[str, Any]], column: dict[str, Any]) -> None:
    for place, row in enumerate(rows):
        entry = row["scores"].get(column["key"])
        if entry is None:
            continue
        colour = SURE if certain(entry) else SYSTEM
        if entry["low"] is not None:
            axis.plot([entry["low"], entry["high"]], [place, place], color=colour, linewidth=1.3)
        axis.plot(entry["value"], place, color=colour, marker="o", markersize=4)
    _line(axis, 0)
    axis.set_xlabel("ahead →", fontsize=8)


def _panels(names: list[str], shown: list[dict[str, Any]], columns: int, draw: Callable) -> Figure:
    """A panel for each column of the table, which `draw(axis, column)` fills, the systems' names at the left."""
    columns = max(1, min(columns, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.6 + 2.45 * columns, rows * (0.75 + 0.24 * len(names))), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axis, column in zip(axes, shown):
            draw(axis, column)
            task, what = heading(column)
            axis.set_title(f"{task}, {what[:-2]}", fontsize=8.5)
            axis.tick_params(axis="y", length=0)
            axis.grid(axis="x", color="#e4e8ec", linewidth=0.6)
            axis.set_axisbelow(True)
        for axis in axes[len(shown):]:
            axis.set_visible(False)
        for row in range(rows):
            axes[row * columns].set_yticks(range(len(names)), names)
        axes[0].invert_yaxis()
    return figure


def _line(axis, value: float) -> None:
    axis.axvline(value, color=LINE, linewidth=0.9, linestyle=(0, (3, 2)))


def layer_weights(weights: dict[str, dict[str, np.ndarray]], columns: int = 3) -> Figure:
    """Which layers tasks listen to: a heat map for each system, tasks down, layers across.

    weights: system -> task -> weights [L], which sum to 1. Each cell is divided by 1/L: 1 is an even share.
    """
    count = len(weights)
    columns = max(1, min(columns, count))
    rows = max(1, math.ceil(count / columns))
    tasks = sorted({task for own in weights.values() for task in own})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.5 + 3.4 * columns, rows * (0.8 + 0.26 * len(tasks))), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        most = max(float((own * len(own)).max()) for by_task in weights.values() for own in by_task.values())
        image = None
        for axis, (system, own) in zip(axes, weights.items()):
            layers = max(len(values) for values in own.values())
            table = np.full((len(tasks), layers), np.nan)
            for task, values in own.items():
                table[tasks.index(task), :len(values)] = values * len(values)
            image = axis.imshow(table, aspect="auto", cmap="cividis", vmin=0, vmax=max(most, 1.0), interpolation="nearest")
            axis.set_title(system)
            axis.set_xlabel("layer")
            axis.set_xticks(range(layers) if layers <= 13 else range(0, layers, math.ceil(layers / 13)))
            axis.set_yticks(range(len(tasks)), tasks)
            axis.tick_params(length=0)
        for axis in axes[count:]:
            axis.set_visible(False)
        figure.colorbar(image, ax=list(axes), pad=0.01, fraction=0.025, label="weight, 1: an even share")
    return figure


def overview(logs: dict[str, dict[str, dict[str, list[tuple[int, float]]]]], columns: int = 4) -> Figure:
    """One small plot for each run: what it lost on dev by step, and on training data where that is one loss.

    logs: run -> part -> name -> [(step, value)] as `speechrep.report.collect.read_log` gives it.
    """
    columns = max(1, min(columns, len(logs)))
    rows = max(1, math.ceil(len(logs) / columns))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.75 * columns, 1.95 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (name, log) in zip(axes, logs.items()):
            for part, colour in (("train", TRAIN), ("dev", DEV)):
                points = total_loss(log, part)
                if points:
                    steps, values = np.array(points, dtype=float).T
                    axis.plot(steps, values, color=colour, linewidth=1.2, marker="o" if part == "dev" else "",
                              markersize=2.6 if len(steps) < 40 else 0)
            axis.set_title(name, fontsize=8)
            axis.set_xlabel("step")
            axis.grid(axis="y", color="#e4e8ec", linewidth=0.6)
            axis.locator_params(axis="x", nbins=4)
        for axis in axes[len(logs):]:
            axis.set_visible(False)
        axes[0].legend([Line2D([], [], color=TRAIN, lw=1.2), Line2D([], [], color=DEV, lw=1.2, marker="o", ms=3)],
                       ["train", "dev"], loc="upper right", fontsize=8, handlelength=1.6)
    return figure


def total_loss(log: dict[str, dict[str, list[tuple[int, float]]]], part: str) -> list[tuple[int, float]]:
    """The weighted loss of a part by step: `loss`; of training, where it is not logged, its one loss, if there is but
    one."""
    values = log.get(part, {})
    if "loss" in values:
        return values["loss"]
    losses = [name for name in values if name in log.get("dev", {})]
    return values[losses[0]] if len(losses) == 1 else []
