"""Upstreams compared: one table, systems by tasks, of all that stands in EXP/tasks.

Each task shows its main metrics (`main_metrics` of the task, or its score's first). A value of one seed has the
interval of its score, over utterances; of several, the mean has Student's 95 % interval over the seeds. A system beats
a floor (MFCC, an untrained encoder) in a task where its value is better, and clearly where the intervals do not touch.
"""

import re
import statistics
from pathlib import Path
from typing import Any

from speechrep.config import read_yaml
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.metrics.score import read_score
from speechrep.metrics.seeds import t_interval
from speechrep.report.earlier import join_earlier
from speechrep.report.results import role_of
from speechrep.tasks.base import find_task, task_names, zero_shot_tasks
from speechrep.tasks.predict import learning_rates
from speechrep.train import checkpoint
from speechrep.upstream import MEAN_OF, RANDOM, source_of

FLOORS = ("mfcc", "random")
"""What systems have to beat: MFCC, and an untrained encoder."""
RECOGNITION = "asr"
"""The task whose files `speechrep score recognition` scores."""


def main_metrics(score: dict[str, Any]) -> list[str]:
    """The metrics of a score by which systems are compared."""
    name = RECOGNITION if score["task"] == "recognition" else score["task"]
    zero_shot, wanted = zero_shot_tasks(), ()
    if name in zero_shot or name in task_names():
        wanted = (zero_shot[name][0] if name in zero_shot else find_task(name)).main_metrics
    return [metric for metric in wanted if metric in score["metrics"]] or list(score["metrics"])[:1]


def collect_methods(exp: Path, earlier: Path | None = None) -> dict[str, Any]:
    """Everything below EXP/tasks as plain values; with it, where `earlier` names one, what stands in a kept METHODS.json
    (`speechrep.report.earlier`), whose rows say `earlier`.

    `columns`: {key, task, part, label, metric, unit, better, conditions}, in which label is the task, with the part where a
    task has several, and conditions are those that the scores state; `systems`: {system, seeds, floor, upstreams,
    parameters, data_hours, heard_hours, train_sec, scores, beats}, in which scores are by the columns' keys: {value, low,
    high, over ("utterances" or "seeds"), n, by_seed, lr (all rates, of seeds and of folds), path}, and beats by floor:
    {floor, of, won, clearly, lost}. Raises `SpeechrepError` if nothing is scored.
    """
    columns: dict[str, dict[str, Any]] = {}
    systems: dict[str, dict[str, Any]] = {}
    for path in sorted((exp / "tasks").rglob("score.json")):
        score, task = read_score(path), path.relative_to(exp / "tasks").parts[1]
        if task == "score.json" or "fold" in path.parent.parent.name:
            continue
        system = systems.setdefault(str(score["system"]), {"found": {}, "upstreams": {}})
        run = exp / "tasks" / path.relative_to(exp / "tasks").parts[0] / task
        # Each fold may have swept for itself.
        runs = sorted(run.glob("fold*/")) or [run]
        run = runs[0]
        config = read_yaml(run / "config.yaml") if (run / "config.yaml").is_file() else {}
        upstream = config.get("upstream") or (score["provenance"].get("config") or {}).get("upstream")
        if upstream:
            system["upstreams"][score["seed"]] = upstream
        for metric in main_metrics(score):
            entry, key = score["metrics"][metric], f"{task}:{metric}:{score['part']}"
            columns.setdefault(key, {"key": key, "task": task, "part": score["part"], "metric": metric,
                                     "unit": entry.get("unit") or "", "better": entry["better"], "conditions": []})
            stated = columns[key]["conditions"]
            if entry.get("conditions") and entry["conditions"] not in stated:
                stated.append(entry["conditions"])
            system["found"].setdefault(key, {})[score["seed"]] = entry | {
                "lr": learning_rates(runs), "path": path.relative_to(exp).as_posix(), "run": run}
    if not columns and earlier is None:
        raise SpeechrepError(f"{exp}/tasks: no scores", "score.json of some systems", "run utils/evaluate.sh score first")
    rows = [_system(name, found["found"], found["upstreams"]) for name, found in systems.items()]
    if earlier is not None:
        join_earlier(columns, rows, earlier)
    rows.sort(key=lambda row: (row["floor"], row["system"]))
    for row in rows:
        row["beats"] = _beats(row, rows, columns)
    for column in columns.values():
        parts = {other["part"] for other in columns.values() if other["task"] == column["task"]}
        column["label"] = column["task"] + (f", {column['part']}" if len(parts) > 1 else "")
    last = zero_shot_tasks()
    order = sorted(columns.values(), key=lambda column: (column["task"] in last, column["task"], column["part"]))
    return {"columns": order, "systems": rows}


def _system(name: str, found: dict[str, dict[int, dict]], upstreams: dict[int, str]) -> dict[str, Any]:
    seeds = sorted({seed for by_seed in found.values() for seed in by_seed}, key=str)
    runs = [entry["run"] for by_seed in found.values() for entry in by_seed.values()]
    scores = {key: _joined(by_seed) for key, by_seed in found.items()}
    return {"system": name, "seeds": seeds, "floor": role_of(name) == "floor",
            "upstreams": sorted(set(upstreams.values()))} | cost(list(upstreams.values()), runs) | {"scores": scores}


def _joined(by_seed: dict[int, dict]) -> dict[str, Any]:
    """One seed's entry, or the mean over several with Student's interval."""
    entries = [by_seed[seed] for seed in sorted(by_seed, key=str)]
    first = entries[0]
    values = {str(seed): by_seed[seed]["value"] for seed in sorted(by_seed, key=str)}
    rates = sorted({rate for entry in entries for rate in entry["lr"]})
    told = {"n": first["n"], "by_seed": values, "lr": rates,
            "path": [entry["path"] for entry in entries]}
    if len(entries) == 1:
        own = {"value": first["value"], "low": first.get("low"), "high": first.get("high"), "over": "utterances"}
        return own | told
    value, low, high = t_interval(list(values.values()))
    return {"value": value, "low": low, "high": high, "over": "seeds"} | told


def cost(upstreams: list[str], runs: list[Path]) -> dict[str, Any]:
    """What a system took: parameters, hours of the speech it was trained on, hours it heard in all its steps (steps
    times batch, the greatest that batches can hold), seconds of training (over all sessions; of runs of earlier
    versions, which did not add them up, of the last).

    Known of upstreams that this project trained, from their run; 0 hours for an untrained network; None where nobody
    says. upstreams: specs, one a seed, whose means are given; runs: folders of tasks, from whose checkpoints parameters
    are counted where the upstream has no run.
    """
    found: dict[str, list[float]] = {"parameters": [], "data_hours": [], "heard_hours": [], "train_sec": []}
    for spec in upstreams:
        folder = Path(source_of(spec)).parent
        done, config = folder / "done.json", folder / "config.yaml"
        if not spec.endswith(".pt") or not done.is_file() or not config.is_file():
            continue
        record, train = read_json(done), read_yaml(config).get("train", {})
        untrained = spec.removeprefix(MEAN_OF).startswith(RANDOM)
        parts = list((record.get("provenance") or {}).get("data", {}).values())
        found["parameters"].append(record["parameters"])
        found["heard_hours"].append(0 if untrained else train["steps"] * train["batch_sec"] / 3600)
        found["data_hours"].append(0 if untrained else parts[0]["seconds"] / 3600 if parts else None)
        found["train_sec"].append(0 if untrained else record.get("train_sec", record.get("last_session_sec")))
    means = {name: statistics.fmean(known) if (known := [value for value in values if value is not None]) else None
             for name, values in found.items()}
    if means["parameters"] is None:
        means["parameters"] = next((count for run in runs if (count := _upstream_parameters(run)) is not None), None)
    return means


def _upstream_parameters(run: Path) -> int | None:
    """The parameters of the upstream in a task's checkpoint; buffers of statistics aside."""
    if not (run / "best.pt").is_file():
        return None
    content = checkpoint.load(run / "best.pt", mapped=True)
    return sum(value.numel() for key, value in content["model"].items() if key.startswith("upstream.method."))


def _beats(row: dict[str, Any], rows: list[dict[str, Any]], columns: dict[str, dict]) -> dict[str, Any]:
    """For each floor that there is, in how many columns `row` is better."""
    found = {}
    for kind in FLOORS:
        floor = floor_of(kind, row["system"], [other["system"] for other in rows])
        if floor is None or row["floor"]:
            continue
        other = next(other for other in rows if other["system"] == floor)
        shared = [key for key in columns if key in row["scores"] and key in other["scores"]]
        better = {key: _better(row["scores"][key], other["scores"][key], columns[key]["better"]) for key in shared}
        if shared:
            found[kind] = {"floor": floor, "of": len(shared), "won": sum(won for won, _ in better.values()),
                           "clearly": sum(clear for _, clear in better.values()),
                           "lost": [key for key, (won, _) in better.items() if not won]}
    return found


def floor_of(kind: str, system: str, names: list[str]) -> str | None:
    """The system that `system` has to beat: mfcc; of untrained encoders, the one of its own training (random-apc-small-long
    of apc-small-long) or of its method (random-apc of apc-small), of hubert2, HuBERT's second iteration, those of hubert,
    or else the first."""
    own = [name for name in names if name == kind or name.startswith(f"{kind}-")]
    return max((name for name in own if _is_of(name.removeprefix(f"{kind}-"), system)), key=len, default=(own or [None])[0])


def _is_of(own: str, system: str) -> bool:
    method, _, training = map(re.escape, own.partition("-"))
    return bool(re.match(rf"{re.escape(own)}\d*-", system) or re.fullmatch(rf"{method}\d*-{training}", system))


def _better(one: dict, other: dict, way: str) -> tuple[bool, bool]:
    """Whether `one` is better, and whether it is so clearly: the intervals do not touch."""
    sign = 1 if way == "higher" else -1
    won = sign * (one["value"] - other["value"]) > 0
    bounds = [one["low"], one["high"], other["low"], other["high"]]
    if not won or None in bounds:
        return won, False
    return won, one["low"] > other["high"] if sign > 0 else one["high"] < other["low"]
