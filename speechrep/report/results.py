"""Score files as tables to show: one a task and part, systems as rows, metrics as columns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CEILINGS = ("natural", "vocoded")
TASKS = {"tts": "Text-to-speech", "vc": "Voice conversion", "synthesis": "Synthesis", "representation": "Representation",
         "recognition": "Recognition"}
"""The tables that come first, in this order, with their headings; others follow by name."""
FLOORS = ("chance", "random", "mfcc", "fbank", "logmel")


@dataclass
class Cell:
    """One value as it is printed, with its interval and how many terms it is of."""

    value: str
    interval: str = ""
    count: str = ""
    best: bool = False


@dataclass
class ResultRow:
    """One system: a score file, or several seeds of it together (`seeds` above 1), or one of those (`member`)."""

    system: str
    path: str
    role: str
    """"ceiling", "floor" or ""."""
    metrics: dict[str, dict[str, Any]]
    cells: dict[str, Cell] = field(default_factory=dict)
    seed: str = ""
    seeds: int = 1
    member: bool = False
    provenance: dict[str, Any] | None = None


@dataclass
class ResultTable:
    """All score files of one task on one part. columns: (metric, unit, "lower", "higher" or ""); notes: (text, of which
    systems, "" for all)."""

    task: str
    part: str
    columns: list[tuple[str, str, str]] = field(default_factory=list)
    rows: list[ResultRow] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The heading of the table."""
        return TASKS.get(self.task, self.task)


def role_of(system: str) -> str:
    """"ceiling" (what could be reached: natural speech, natural speech vocoded), "floor" (what is to be beaten: chance,
    an untrained network, plain features), or "": by the name of the system."""
    name = system.lower()
    if name.startswith(CEILINGS):
        return "ceiling"
    return "floor" if name.startswith(FLOORS) else ""


def number(value: float | None) -> str:
    """A value with three significant digits or so; a dash where there is none."""
    if value is None:
        return "–"
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}".replace("-", "−")


def tables(scores: list[dict[str, Any]], order: tuple[str, ...] = (),
           pool: Callable[[list[dict[str, Any]]], dict[str, Any]] | None = None) -> list[ResultTable]:
    """The tables, by task and part: ceilings first, floors last, the best of the systems marked in each column.

    scores as `speechrep.report.collect.find_scores` gives them. order: the metrics that come first. pool: joins one
    metric of several seeds (a list of entries -> an entry); the joint row stands above those of the seeds.
    A metric that tells its `chance` adds a row "chance" to the floors.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for score in sorted(scores, key=lambda s: (_place(s["task"]), s["part"], _rank(str(s["system"])), s["path"])):
        groups.setdefault((score["task"], score["part"]), []).append(score)
    return [_table(task, part, own, order, pool) for (task, part), own in groups.items()]


def _table(task: str, part: str, scores: list[dict[str, Any]], order: tuple[str, ...], pool) -> ResultTable:
    table = ResultTable(task, part)
    first: dict[str, dict[str, Any]] = {}
    for score in scores:
        for name, entry in score["metrics"].items():
            first.setdefault(name, entry)
    names = [name for name in order if name in first] + [name for name in first if name not in order]
    table.columns = [(name, first[name].get("unit") or "", first[name].get("better") or "") for name in names]
    systems: dict[str, list[dict[str, Any]]] = {}
    for score in scores:
        systems.setdefault(str(score["system"]), []).append(score)
    for system, own in systems.items():
        seeds = {score["seed"] for score in own}
        pooled = pool is not None and len(own) > 1 and len(seeds) == len(own)
        if pooled:
            met = [name for name in names if any(name in score["metrics"] for score in own)]
            joint = {name: pool([score["metrics"][name] for score in own if name in score["metrics"]]) for name in met}
            table.rows.append(ResultRow(system, "", role_of(system), joint, seeds=len(own)))
        for score in own:
            seed = "" if score["seed"] is None else str(score["seed"])
            table.rows.append(ResultRow(system, score["path"], role_of(system), score["metrics"], seed=seed,
                                        member=pooled, provenance=score["provenance"]))
    chance = {name: {"value": first[name]["chance"]} for name in names if first[name].get("chance") is not None}
    if chance and "chance" not in systems:
        table.rows.append(ResultRow("chance", "", "floor", chance))
    for row in table.rows:
        row.cells = {name: _cell(entry) for name, entry in row.metrics.items()}
    _mark_best(table)
    noted: dict[str, list[str]] = {}
    for score in scores:
        for note in score["notes"]:
            if score["system"] not in noted.setdefault(str(note), []):
                noted[str(note)].append(str(score["system"]))
    table.notes = [(note, "" if len(of) == len(systems) else ", ".join(of)) for note, of in noted.items()]
    return table


def _mark_best(table: ResultTable) -> None:
    for name, _, better in table.columns:
        rivals = [row for row in table.rows if not row.role and not row.member and name in row.metrics]
        if len(rivals) > 1 and better in ("lower", "higher"):
            top = (min if better == "lower" else max)(row.metrics[name]["value"] for row in rivals)
            for row in rivals:
                row.cells[name].best = row.metrics[name]["value"] == top


def _place(task: str) -> tuple[int, str]:
    return list(TASKS).index(task) if task in TASKS else len(TASKS), task


def _rank(system: str) -> int:
    starts = [system.lower().startswith(name) for name in CEILINGS]
    if any(starts):
        return starts.index(True)
    return len(CEILINGS) + (role_of(system) == "floor")


def _cell(entry: dict[str, Any]) -> Cell:
    low, high = entry.get("low"), entry.get("high")
    interval = f"[{number(low)}, {number(high)}]" if low is not None and high is not None else ""
    count = entry.get("n")
    return Cell(number(entry["value"]), interval, "" if count is None else f"{count:,}")
