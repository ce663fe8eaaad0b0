"""Systems against another, seed by seed: how far each is ahead of it in every column, and how sure that is.

What a seed fixes (the draw of a network, the order of its batches and of its heads') is then the same on both sides, and
what it adds to both cancels; two intervals of means, laid side by side, would count it twice.
"""

import statistics
from typing import Any

from speechrep.errors import SpeechrepError
from speechrep.metrics.seeds import t_interval
from speechrep.report.methods import FLOORS, floor_of


def find_differences(found: dict[str, Any], against: str) -> dict[str, Any]:
    """How far each trained system of `collect_methods` is ahead of `against`: the name of a system, or `mfcc` or `random`,
    of which each has its own (`floor_of`).

    `rows`: {system, other, scores}, in which scores are by the columns' keys: {value, low, high, seeds, won}, with value
    the mean of the differences of the `seeds` seeds that both have, above zero where the system is better, low and high
    its Student's 95 % interval (None of one seed), and won the number of seeds in which it is better. What shares no seed
    with the other is left out, and so is a system that shares none in any column. Raises `SpeechrepError` for a name
    that the table does not have.
    """
    named = {row["system"]: row for row in found["systems"]}
    if against not in (*FLOORS, *named):
        raise SpeechrepError(f"no system is called '{against}'", f"{' or '.join(FLOORS)}, or one of {', '.join(named)}")
    rows = []
    for row in found["systems"]:
        other = against if against in named else floor_of(against, row["system"], list(named))
        if row["floor"] or other in (None, row["system"]):
            continue
        scores = {column["key"]: entry for column in found["columns"]
                  if (entry := _difference(row, named[other], column)) is not None}
        if scores:
            rows.append({"system": row["system"], "other": other, "scores": scores})
    return {"against": against, "rows": rows}


def _difference(row: dict[str, Any], other: dict[str, Any], column: dict[str, Any]) -> dict[str, Any] | None:
    own, others = (side["scores"].get(column["key"], {}).get("by_seed", {}) for side in (row, other))
    sign = 1 if column["better"] == "higher" else -1
    ahead = [sign * (own[seed] - others[seed]) for seed in own if seed in others]
    if not ahead:
        return None
    value, low, high = t_interval(ahead) if len(ahead) > 1 else (statistics.fmean(ahead), None, None)
    return {"value": value, "low": low, "high": high, "seeds": len(ahead), "won": sum(one > 0 for one in ahead)}


def compare(found: dict[str, Any], against: list[str] = ()) -> list[dict[str, Any]]:
    """`find_differences` of each name; of none, of the floors that share two seeds or more with a system. Raises
    `SpeechrepError` also for a name whose system shares no seed with any other in any column."""
    if against:
        asked = [find_differences(found, name) for name in against]
        if lone := [one["against"] for one in asked if not one["rows"]]:
            raise SpeechrepError(f"nothing to compare with {', '.join(lone)}", "scores of the same seeds in the same tasks",
                                 "score these with --seed as the others were")
        return asked
    floors = [find_differences(found, kind) for kind in FLOORS]
    return [one for one in floors if any(entry["seeds"] > 1 for row in one["rows"] for entry in row["scores"].values())]


def compared_columns(found: dict[str, Any], differences: dict[str, Any]) -> list[dict[str, Any]]:
    """The columns of the table in which anything is compared."""
    return [column for column in found["columns"] if any(column["key"] in row["scores"] for row in differences["rows"])]


def certain(entry: dict[str, Any]) -> bool:
    """Whether the interval of a difference leaves zero out."""
    return entry["low"] is not None and (entry["low"] > 0 or entry["high"] < 0)
