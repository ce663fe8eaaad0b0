"""score.json: the numbers of one system on one task and part, and beside it per_utt.tsv."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechrep.errors import SpeechrepError
from speechrep.files import read_json, remove_leftovers, write_json, write_text

BETTER = ("lower", "higher")


def metric(value: float, low: float | None = None, high: float | None = None, *, n: int, unit: str,
           better: str, conditions: str = "") -> dict[str, Any]:
    """One entry of `metrics`: value, its 95 % interval, how many terms it is of, its unit and which way is better; and
    where it is computed in several ways in the literature, `conditions`, in words, without which it cannot be compared."""
    if better not in BETTER:
        raise ValueError(f"better: '{better}', wanted one of {BETTER}")
    if not all(number is None or math.isfinite(number) for number in (value, low, high)):
        raise ValueError(f"a metric that is not finite: {value}, {low}, {high}")
    bounds = [None if number is None else float(number) for number in (low, high)]
    entry = {"value": float(value), "low": bounds[0], "high": bounds[1], "n": int(n), "unit": unit, "better": better}
    return entry | ({"conditions": conditions} if conditions else {})


def write_score(path: str | Path, *, task: str, part: str, system: str, seed: int | None,
                metrics: Mapping[str, Mapping[str, Any]], provenance: Mapping[str, Any],
                per_utt: Mapping[str, Mapping[str, Any]] | None = None,
                notes: list[str] | None = None) -> dict[str, Any]:
    """Write `path` (a score.json) and, with `per_utt` (utterance -> column -> value), per_utt.tsv beside it.

    A column that an utterance lacks stays empty. The score is written last: where it stands, all stands.
    Returns what was written.
    """
    path = Path(path)
    remove_leftovers(path.parent)
    score = {"task": task, "part": part, "system": system, "seed": seed, "metrics": dict(metrics),
             "notes": list(notes or []), "provenance": dict(provenance)}
    if per_utt is not None:
        write_per_utt(path.parent / "per_utt.tsv", per_utt)
    write_json(path, score)
    return score


def read_score(path: str | Path) -> dict[str, Any]:
    """The score in a file. Raises `SpeechrepError` if it is missing or is not one."""
    try:
        score = read_json(path)
        for name in ("task", "part", "system", "seed", "metrics", "notes", "provenance"):
            score[name]
        for name, entry in score["metrics"].items():
            if not isinstance(entry["value"], (int, float)) or entry["better"] not in BETTER:
                raise KeyError(name)
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", "a score.json", "run `speechrep score` first") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpeechrepError(f"{path}: not a score ({type(error).__name__}: {error})", "what `speechrep score` writes",
                             "run it again") from None
    return score


def write_per_utt(path: str | Path, per_utt: Mapping[str, Mapping[str, Any]]) -> None:
    """Utterance -> column -> value as a table with a header, columns separated by tabs, sorted by utterance."""
    columns = list(dict.fromkeys(column for row in per_utt.values() for column in row))
    lines = ["\t".join(["utt", *columns])]
    for utt in sorted(per_utt):
        lines.append("\t".join([utt, *(_text(per_utt[utt].get(column)) for column in columns)]))
    write_text(path, "\n".join(lines) + "\n")


def read_per_utt(path: str | Path) -> dict[str, dict[str, str]]:
    """What `write_per_utt` wrote, values as text."""
    header, *lines = Path(path).read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")[1:]
    return {line.split("\t")[0]: dict(zip(columns, line.split("\t")[1:])) for line in lines}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())
