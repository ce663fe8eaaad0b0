"""What a task that trains nothing found, as files, and what those files are worth.

Beside its tables, such as the score of each trial, such a task leaves made.json: what was compared, with which settings, and
how many rows each table must have. `score_kept` reads these alone, so that a score can be made again without features, by the
way it was made at first.
"""

import gzip
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechrep.errors import SpeechrepError
from speechrep.files import atomic_path, read_json, write_json
from speechrep.metrics.score import write_score
from speechrep.provenance import provenance

MADE = "made.json"


def keep(out: Path, task: str, part: str, tables: Mapping[str, str], config: Mapping[str, Any], data: Mapping[str, Any],
         notes: Sequence[str], **more: Any) -> None:
    """Write the tables (file name -> text; compressed where the name ends in .gz), and made.json last: where it stands, all
    stand.

    config: the settings, which will stand in the score's provenance; data: the counts there; notes: what the tables do not
    tell; more: plain values that the task's `score_files` wants.
    """
    (out / MADE).unlink(missing_ok=True)
    for name, text in tables.items():
        with atomic_path(out / name) as tmp:
            # No time of day, so that the same table has the same bytes.
            tmp.write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith(".gz") else text.encode())
    write_json(out / MADE, {"task": task, "part": part, "config": dict(config), "data": dict(data), "notes": list(notes),
                            "command": list(sys.argv)} | more)


def score_kept(folder: Path, out: Path, system: str, seed: int | None, part: str | None = None) -> dict[str, Any]:
    """Score what `keep` left in `folder`, into out/score.json; returns the score. part: of the corpus, to be checked.

    Raises `SpeechrepError` for another part, and for a table with missing, doubled or malformed rows.
    """
    made = read_json(folder / MADE)
    if part not in (None, made["part"]):
        raise SpeechrepError(f"{folder}: {made['task']} of {made['part']}", f"of {part}", f"say --part {made['part']}")
    scored = importlib.import_module(f"speechrep.tasks.{made['task']}").score_files(folder)
    return write_score(out / "score.json", task=made["task"], part=made["part"], system=system, seed=seed,
                       metrics=scored.metrics, per_utt=scored.per_utt or None, notes=scored.notes,
                       provenance=provenance(sys.argv, made["config"], seed, made["data"]))


def read_rows(path: Path, columns: Sequence[str], keys: int) -> list[list[str]]:
    """The rows of a table with these columns, separated by tabs, of which the first `keys` name a row. Raises
    `SpeechrepError` for a missing file, other columns, and a row that stands twice."""
    try:
        content = path.read_bytes()
        lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", "a table that the task left", "score it from features again") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SpeechrepError(f"{path}: not readable ({error})", "a whole table", "score it from features again") from None
    rows = [line.split("\t") for line in lines]
    if not rows or rows[0] != list(columns):
        raise SpeechrepError(f"{path}: '{lines[0] if lines else ''}'", f"the columns {' '.join(columns)}")
    seen = set()
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(columns):
            raise SpeechrepError(f"{path}:{number}: {len(row)} values", f"one for each of {' '.join(columns)}")
        key = tuple(row[:keys])
        if key in seen:
            raise SpeechrepError(f"{path}:{number}: '{' '.join(key)}' stands twice", "a row each")
        seen.add(key)
    return rows[1:]


def check_count(path: Path, what: str, found: int, wanted: int) -> None:
    """Raises `SpeechrepError` where a table has not the rows that it was written with."""
    if found != wanted:
        raise SpeechrepError(f"{path}: {found} {what}", f"{wanted}, as {MADE} says", "score it from features again")


def value_of(path: Path, text: str) -> float:
    """A value of a table. Raises `SpeechrepError` for what is no number."""
    try:
        return float(text)
    except ValueError:
        raise SpeechrepError(f"{path}: '{text}'", "a number", "score it from features again") from None
