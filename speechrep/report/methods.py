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
from speechrep.files import read_json, remove_leftovers, write_json, write_text
from speechrep.metrics.score import read_score
from speechrep.metrics.seeds import t_interval
from speechrep.report.earlier import join_earlier
from speechrep.report.results import number, role_of
from speechrep.tasks.base import find_task, task_names, zero_shot_tasks
from speechrep.tasks.predict import learning_rates
from speechrep.train import checkpoint
from speechrep.upstream import MEAN_OF, RANDOM, source_of

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
    for kind in ("mfcc", "random"):
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
    """The system that `system` has to beat: mfcc; of untrained encoders, the one of its own method (of hubert2, HuBERT's second
    iteration, hubert's), or else the first."""
    own = [name for name in names if name == kind or name.startswith(f"{kind}-")]
    same = [name for name in own if re.match(re.escape(name.removeprefix(f"{kind}-")) + r"\d*-", system)]
    return max(same, key=len, default=None) or (own or [None])[0]


def _better(one: dict, other: dict, way: str) -> tuple[bool, bool]:
    """Whether `one` is better, and whether it is so clearly: the intervals do not touch."""
    sign = 1 if way == "higher" else -1
    won = sign * (one["value"] - other["value"]) > 0
    bounds = [one["low"], one["high"], other["low"], other["high"]]
    if not won or None in bounds:
        return won, False
    return won, one["low"] > other["high"] if sign > 0 else one["high"] < other["low"]


def methods_markdown(found: dict[str, Any], title: str = "Systems by tasks") -> str:
    """What `collect_methods` found as a Markdown table."""
    columns, rows = found["columns"], found["systems"]
    floors = [kind for kind in ("mfcc", "random") if any(kind in row["beats"] for row in rows)]
    heads = ["system", *(f"beats {kind}" for kind in floors), *(" ".join(heading(column)) for column in columns),
             "parameters (M)", "speech (h)", "heard (h)", "training (s)"]
    lines = [f"# {title}", "", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    best = best_of(found)
    for row in rows:
        cells = [row["system"] + (f" ({len(row['seeds'])} seeds)" if len(row["seeds"]) > 1 else "") + " †" * ("earlier" in row)]
        cells += [verdict(row["beats"].get(kind)) for kind in floors]
        cells += [_cell(row, column["key"], best) for column in columns]
        cells += costs(row)
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {line}" for line in legend(found)), ""]
    return "\n".join(lines)


def legend(found: dict[str, Any]) -> list[str]:
    """What the marks of the table mean."""
    lines = ["↓ lower is better, ↑ higher is better. One seed: 95 % bootstrap interval over utterances (ABX: pairs of "
             "phones; queries by example: queries; sSIMI: pairs of words; verification: utterances enrolled). Several: "
             "mean and Student's 95 % interval over seeds. Bold: the best that was trained; a floor may be better.",
             "beats: in how many columns the value is better than the floor's, and in how many clearly, the intervals "
             "apart; ▽ behind a value that does not beat MFCC.",
             "heard: steps times the batch; training: seconds over all sessions of the run."]
    lines += [f"{' '.join(heading(column)).removesuffix(' ↓').removesuffix(' ↑')}: {' or '.join(column['conditions'])}."
              for column in found["columns"] if column["conditions"]]
    if names := sorted({row["earlier"] for row in found["systems"] if "earlier" in row}):
        lines.append(f"†: wholly or in part of an earlier run, from {', '.join(names)}.")
    tasks = dict.fromkeys(column["task"] for column in found["columns"])
    told = [f"{task} {rates}" for task in tasks if (rates := _rates(found, task))]
    return lines + ([f"Learning rates: {'; '.join(told)}."] if told else [])


def _rates(found: dict[str, Any], task: str) -> str:
    """The learning rate that most systems have in a task and, in brackets, the others' with their names; those of several
    folds or seeds are parted by strokes."""
    keys = [column["key"] for column in found["columns"] if column["task"] == task]
    systems: dict[str, list[str]] = {}
    for row in found["systems"]:
        own = sorted({rate for key in keys if key in row["scores"] for rate in row["scores"][key]["lr"]})
        if own:
            systems.setdefault("/".join(f"{rate:g}" for rate in own), []).append(row["system"])
    rates = sorted(systems, key=lambda rate: (-len(systems[rate]), rate))
    others = "; ".join(f"{rate} {', '.join(systems[rate])}" for rate in rates[1:])
    return "".join(rates[:1]) + (f" ({others})" if others else "")


def heading(column: dict[str, Any]) -> tuple[str, str]:
    """A column in words: its label; metric, unit and direction."""
    unit = f" ({column['unit']})" if column["unit"] else ""
    arrow = "↓" if column["better"] == "lower" else "↑"
    metric = column["metric"].removeprefix(column["task"] + "_").replace("_", " ")
    return column["label"], f"{metric}{unit} {arrow}"


def best_of(found: dict[str, Any]) -> dict[str, float]:
    """Key -> the best value among systems that are no floors, where there are two or more."""
    best = {}
    for column in found["columns"]:
        values = [row["scores"][column["key"]]["value"] for row in found["systems"]
                  if not row["floor"] and column["key"] in row["scores"]]
        if len(values) > 1:
            best[column["key"]] = (min if column["better"] == "lower" else max)(values)
    return best


def verdict(beats: dict[str, Any] | None) -> str:
    """In how many columns a floor is beaten."""
    if beats is None:
        return "–"
    word = "yes" if beats["won"] == beats["of"] else "no" if not beats["won"] else ""
    return (f"{word}, " if word else "") + f"{beats['won']} of {beats['of']}, {beats['clearly']} clearly"


def costs(row: dict[str, Any]) -> list[str]:
    """Parameters in millions, hours of speech, hours heard, seconds of training, as text."""
    values = [row["parameters"] and row["parameters"] / 1e6, row["data_hours"], row["heard_hours"], row["train_sec"]]
    return [number(value) if value is not None else "–" for value in values]


def cell_parts(row: dict[str, Any], key: str) -> tuple[str, str, str]:
    """A value, its interval and its mark, as text."""
    entry = row["scores"].get(key)
    if entry is None:
        return "–", "", ""
    interval = "" if entry["low"] is None else f"[{number(entry['low'])}, {number(entry['high'])}]"
    lost = key in row["beats"].get("mfcc", {"lost": ()})["lost"]
    return number(entry["value"]), interval, "▽" if lost else ""


def _cell(row: dict[str, Any], key: str, best: dict[str, float]) -> str:
    value, interval, mark = cell_parts(row, key)
    entry = row["scores"].get(key)
    if entry is None:
        return value
    if not row["floor"] and best.get(key) == entry["value"]:
        value = f"**{value}**"
    # A kept mean may stand without its seeds, which are then the row's.
    count = len(entry["by_seed"]) or len(row["seeds"])
    told = f"({count} seed{'s' * (count > 1)})" if count != len(row["seeds"]) else ""
    return " ".join(word for word in (value, interval, mark, told) if word)


def write_table(exp: Path, earlier: Path | None = None) -> Path:
    """EXP/METHODS.md, whose path is returned, and EXP/METHODS.json beside it; earlier as of `collect_methods`."""
    found = collect_methods(exp, earlier)
    remove_leftovers(exp, of="METHODS")
    write_json(exp / "METHODS.json", found)
    write_text(exp / "METHODS.md", methods_markdown(found))
    return exp / "METHODS.md"
