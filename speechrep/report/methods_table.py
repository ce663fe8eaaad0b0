"""The table of systems by tasks as text, and with it how far each is ahead of another, seed by seed."""

from pathlib import Path
from typing import Any

from speechrep.files import remove_leftovers, write_json, write_text
from speechrep.report.differences import certain, compare, compared_columns
from speechrep.report.methods import FLOORS, collect_methods
from speechrep.report.results import number


def write_table(exp: Path, earlier: Path | None = None, against: list[str] = ()) -> Path:
    """EXP/METHODS.md, whose path is returned, and EXP/METHODS.json beside it; earlier as of `collect_methods`, against as of
    `speechrep.report.differences.compare`."""
    found = collect_methods(exp, earlier)
    sections = [methods_markdown(found), *(differences_markdown(found, one) for one in compare(found, against))]
    remove_leftovers(exp, of="METHODS")
    write_json(exp / "METHODS.json", found)
    write_text(exp / "METHODS.md", "\n".join(sections))
    return exp / "METHODS.md"


def methods_markdown(found: dict[str, Any], title: str = "Systems by tasks") -> str:
    """What `collect_methods` found as a Markdown table."""
    columns, rows = found["columns"], found["systems"]
    floors = [kind for kind in FLOORS if any(kind in row["beats"] for row in rows)]
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


def title_of(differences: dict[str, Any]) -> str:
    """What is compared, as a heading."""
    words = {"mfcc": "MFCC", "random": "a network untrained"}
    return f"How far each is ahead of {words.get(differences['against'], differences['against'])}, seed by seed"


LEGEND = ("Differences to the same seed of the other system, in the columns' units, positive where the system is better: their "
          "mean, Student's 95 % interval over seeds, and in how many of the seeds it is better. Bold: the interval leaves "
          "zero out; of twenty comparisons without any difference, one would be bold too.")


def differences_markdown(found: dict[str, Any], differences: dict[str, Any]) -> str:
    """One comparison as a section in Markdown."""
    columns = compared_columns(found, differences)
    # Each may have a network of its own; any other system is in the heading.
    named = differences["against"] == "random"
    heads = ["system", *["ahead of"] * named, *(" ".join(heading(column))[:-2] for column in columns)]
    lines = [f"## {title_of(differences)}", "", "| " + " | ".join(heads) + " |",
             "|---|" + "---|" * named + "---:|" * len(columns)]
    for row in differences["rows"]:
        cells = [row["system"], *[row["other"]] * named]
        cells += [_difference_cell(row["scores"].get(column["key"])) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"- {LEGEND}", ""])


def _difference_cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "–"
    value = f"**{number(entry['value'])}**" if certain(entry) else number(entry["value"])
    interval = f" [{number(entry['low'])}, {number(entry['high'])}]" if entry["low"] is not None else ""
    return f"{value}{interval} {entry['won']} of {entry['seeds']}"
