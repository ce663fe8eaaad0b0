"""Score files as one Markdown table: RESULTS.md."""

import re
from typing import Any

import numpy as np

from speechrep.report.results import number

ORDER = ("wer", "cer", "per", "per_toneless", "mcd", "logf0_rmse", "f0_corr", "vuv", "msep", "duration_error",
         "cos_target", "cos_source", "closer_to_target", "dnsmos_p808", "dnsmos_ovrl")
"""The columns that come first, in this order; others follow as they are met."""


def over_seeds(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """One metric of several seeds as one: the mean, with an interval for utterances and seeds together.

    The two half widths add as independent errors do: that of the bootstrap (mean of the seeds') and 1.96 standard
    errors of the mean over seeds. With two or three seeds the second is itself uncertain: the seeds' own rows stay in
    their score files. One seed: its entry as it is.
    """
    if len(entries) == 1:
        return dict(entries[0])
    values = np.array([entry["value"] for entry in entries], dtype=np.float64)
    value, spread = values.mean(), 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    joined = dict(entries[0]) | {"value": float(value), "low": None, "high": None}
    if all(entry.get("low") is not None and entry.get("high") is not None for entry in entries):
        below = np.mean([entry["value"] - entry["low"] for entry in entries])
        above = np.mean([entry["high"] - entry["value"] for entry in entries])
        joined |= {"low": float(value - np.hypot(below, spread)), "high": float(value + np.hypot(above, spread))}
    return joined


def results_markdown(scores: list[dict[str, Any]], title: str = "Results") -> str:
    """A table a task and part: systems down, metrics across, each value with its 95 % interval.

    Rows stand in the order of the scores. Several seeds of a system share a row (see `over_seeds`). Below each table
    stand the notes, each once.
    """
    lines = [f"# {title}", ""] if title else []
    groups: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for score in scores:
        groups.setdefault((score["task"], score["part"]), {}).setdefault(score["system"], []).append(score)
    for (task, part), systems in groups.items():
        met = list(dict.fromkeys(name for own in systems.values() for score in own for name in score["metrics"]))
        columns = [name for name in ORDER if name in met] + [name for name in met if name not in ORDER]
        first = {name: next(s["metrics"][name] for own in systems.values() for s in own if name in s["metrics"])
                 for name in columns}
        lines += [f"## {task}, {part}", ""]
        # The error rates by language would make the one table too wide to read.
        by_language = [name for name in columns if re.fullmatch(r"(wer|cer)_[a-z]{2}", name)]
        for some in ([name for name in columns if name not in by_language], by_language):
            if not some:
                continue
            lines += ["| system | " + " | ".join(_heading(name, first[name]) for name in some) + " |",
                      "|---|" + "---:|" * len(some)]
            for system, own in systems.items():
                seeds = "" if len(own) == 1 else f" ({len(own)} seeds)"
                cells = []
                for name in some:
                    entries = [score["metrics"][name] for score in own if name in score["metrics"]]
                    cells.append(_cell(over_seeds(entries)) if entries else "–")
                lines.append(f"| {system}{seeds} | " + " | ".join(cells) + " |")
            lines.append("")
        notes: dict[str, list[str]] = {}
        for system, own in systems.items():
            for note in dict.fromkeys(note for score in own for note in score["notes"]):
                notes.setdefault(note, []).append(system)
        lines += [f"- {note}" + ("" if len(names) == len(systems) else f" ({', '.join(names)})")
                  for note, names in notes.items()]
        lines += [""] if notes else []
    if len(scores) > 1:
        lines += ["Values with 95 % bootstrap intervals by utterance; several seeds: mean, the interval also over "
                  "seeds. ↓ lower is better, ↑ higher is better.", ""]
    return "\n".join(lines)


def _heading(name: str, entry: dict[str, Any]) -> str:
    unit = f" ({entry['unit']})" if entry.get("unit") else ""
    return f"{name}{unit} {'↓' if entry['better'] == 'lower' else '↑'}"


def _cell(entry: dict[str, Any]) -> str:
    if entry.get("low") is None or entry.get("high") is None:
        return number(entry["value"])
    return f"{number(entry['value'])} [{number(entry['low'])}, {number(entry['high'])}]"
