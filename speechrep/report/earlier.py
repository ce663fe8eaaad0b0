"""Scores of earlier runs beside those of now: an EXP/METHODS.json that was kept, of another machine or another day.

A seed counts once: what was scored now goes before what was kept. Where a system has seeds on both sides, its mean and
Student's interval are those over all of them.
"""

from pathlib import Path
from typing import Any

from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.metrics.seeds import t_interval

WANTED = "a METHODS.json that `speechrep suite table` wrote"
SAME = ("unit", "better")
COSTS = ("parameters", "data_hours", "heard_hours", "train_sec")


def read_earlier(path: Path) -> dict[str, Any]:
    """The table in a METHODS.json. Raises `SpeechrepError` for any other file."""
    if not path.is_file():
        raise SpeechrepError(f"{path}: no such file", WANTED)
    try:
        found = read_json(path)
        for column in found["columns"]:
            column["key"], column["label"], column["unit"], column["better"], column["conditions"]
        for row in found["systems"]:
            row["system"], row["seeds"], row["floor"], row["upstreams"], [row[name] for name in COSTS]
            for entry in row["scores"].values():
                [entry[name] for name in ("value", "low", "high", "over", "n", "by_seed", "lr", "path")]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SpeechrepError(f"{path}: not a table of systems by tasks ({type(error).__name__}: {error})", WANTED) from None
    return found


def join_earlier(columns: dict[str, dict], rows: list[dict[str, Any]], path: Path) -> None:
    """Add to `columns`, by key, and to `rows` what stands in the METHODS.json at `path`; a row of which anything is from there
    says so in `earlier`.

    Raises `SpeechrepError` where the two cannot stand in one column: another unit or direction, or scores of another
    number of utterances, pairs or trials, which are those of another test part (see `_check_counts`).
    """
    kept = read_earlier(path)
    for column in kept["columns"]:
        own = columns.setdefault(column["key"], column)
        if differing := next((name for name in SAME if own[name] != column[name]), None):
            raise SpeechrepError(f"{path}: {column['key']} with {differing} '{column[differing]}', here '{own[differing]}'",
                                 "scores of the same kind", "leave this file out of the table")
        own["conditions"] += [told for told in column["conditions"] if told not in own["conditions"]]
    _check_counts(rows, kept["systems"], path)
    for row in kept["systems"]:
        own = next((other for other in rows if other["system"] == row["system"]), None)
        if own is None:
            rows.append(row | {"earlier": path.name})
        elif _join_row(own, row):
            own["earlier"] = path.name


def _check_counts(rows: list[dict[str, Any]], kept: list[dict[str, Any]], path: Path) -> None:
    """Refuse scores of two test parts: those of a system on both sides, or all of one side and all of the other, are of
    different numbers. Systems differ in theirs where frames are counted, of which some have twice as many."""
    here, there = _counts(rows), _counts(kept)
    for key in here.keys() & there.keys():
        own, other = here[key], there[key]
        differing = {system for system in other if own.get(system, other[system]) != other[system]}
        if len({*own.values()}) == len({*other.values()}) == 1 and {*own.values()} != {*other.values()}:
            differing |= other.keys()
        if differing:
            system = min(differing)
            counted = own.get(system) or next(iter(own.values()))
            raise SpeechrepError(f"{path}: {key} of {system} is of n = {other[system]}, here of {counted}",
                                 "scores of the same test part", "score these systems anew, or leave this file out")


def _counts(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Column -> system -> how many its score is of."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        for key, entry in row["scores"].items():
            found.setdefault(key, {})[row["system"]] = entry["n"]
    return found


def _join_row(own: dict[str, Any], kept: dict[str, Any]) -> bool:
    """Add to a row what it lacks of the same system's kept one; whether that is anything."""
    added = False
    for key, entry in kept["scores"].items():
        mine = own["scores"].get(key)
        joined = entry if mine is None else _joined(mine, entry)
        if joined is not mine:
            own["scores"][key], added = joined, True
    if added:
        own["seeds"] = sorted({*own["seeds"], *kept["seeds"]}, key=str)
    for name in COSTS:
        if own[name] is None:
            own[name] = kept[name]
    return added


def _joined(mine: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """Two entries of one system as one; `mine` itself where the other has no seed that it lacks."""
    by_seed = kept["by_seed"] | mine["by_seed"]
    if len(by_seed) == len(mine["by_seed"]):
        return mine
    by_seed = {seed: by_seed[seed] for seed in sorted(by_seed)}
    value, low, high = t_interval(list(by_seed.values()))
    return mine | {"value": value, "low": low, "high": high, "over": "seeds", "by_seed": by_seed,
                   "lr": sorted({*mine["lr"], *kept["lr"]}), "path": [*mine["path"], *kept["path"]]}
