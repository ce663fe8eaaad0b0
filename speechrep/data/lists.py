"""Files of a data folder that are no streams: a line names two utterances, or an utterance has several lines.

| file | a line | source |
|---|---|---|
| trials | `UTT1 UTT2 target` or `UTT1 UTT2 nontarget`: same speaker or not | Kaldi |
| relevance | `QUERY DOC`: DOC, of the folder of documents, holds that query of the folder | |
| relevance.all | the same, with documents that the folder of documents leaves out | |
| documents.all | `DOC`: all documents, whether any query is said in it or not | |
| rttm | `SPEAKER UTT 1 START DURATION <NA> <NA> NAME <NA> <NA>`, seconds | NIST, RT-09 |
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from speechrep.data.rttm import FORMAT, turn_of
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

OWN_COLUMNS = {"trials": (0, 1), "relevance": (0,), "relevance.all": (0,), "documents.all": (), "rttm": (1,)}
"""List -> the columns, from 0, that name utterances of the folder it is in."""

_WANTED = {"trials": "UTT1 UTT2 target|nontarget", "relevance": "QUERY DOC", "relevance.all": "QUERY DOC",
           "documents.all": "DOC", "rttm": FORMAT}


def line_problem(name: str, fields: tuple[str, ...]) -> str:
    """What is wrong with a line of the list `name`, split at spaces; "" if nothing is."""
    if name == "trials":
        return "" if len(fields) == 3 and fields[2] in ("target", "nontarget") else "not a trial"
    if name.startswith("relevance"):
        return "" if len(fields) == 2 else "not a query and a document"
    if name == "documents.all":
        return "" if len(fields) == 1 else "not a document"
    try:
        _, _, seconds = turn_of(fields)
    except ValueError as error:
        return str(error)
    return "" if seconds > 0 else "no duration"


def read_list(path: str | Path) -> list[tuple[str, ...]]:
    """The lines of a list, told by the file's name, split at spaces, in the order of the file.

    Raises `SpeechrepError` for a missing file, a line of another form, and a line that stands twice.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", f"lines '{_WANTED[path.name]}'") from None
    except UnicodeDecodeError:
        raise SpeechrepError(f"{path}: not UTF-8", f"lines '{_WANTED[path.name]}'") from None
    seen: set[tuple[str, ...]] = set()
    rows = []
    for number, line in enumerate(lines, 1):
        fields = tuple(line.split())
        found = line_problem(path.name, fields) or ("twice in the list" if fields in seen else "")
        if found:
            raise SpeechrepError(f"{path}:{number}: {found}: '{line[:80]}'", f"lines '{_WANTED[path.name]}', each once")
        seen.add(fields)
        rows.append(fields)
    return rows


def list_text(name: str, rows: Iterable[tuple[str, ...]]) -> str:
    """The rows as the text of the file `name`. Raises `SpeechrepError` for a row of another form."""
    lines = []
    for row in rows:
        found = line_problem(name, row) or ("a field with a space" if any(len(field.split()) != 1 for field in row) else "")
        if found:
            raise SpeechrepError(f"{name}: {found}: {row}", f"lines '{_WANTED[name]}'")
        lines.append(" ".join(row) + "\n")
    return "".join(lines)


def unknown_utts(name: str, rows: Iterable[tuple[str, ...]], utts: Collection[str]) -> list[str]:
    """Utterances of the folder's own that the rows name and `utts` lacks, sorted."""
    return sorted({row[column] for row in rows for column in OWN_COLUMNS[name]} - set(utts))


def cut_list(name: str, rows: Iterable[tuple[str, ...]], utts: Collection[str]) -> list[tuple[str, ...]]:
    """The rows whose utterances of the folder's own are all among `utts`."""
    return [row for row in rows if all(row[column] in utts for column in OWN_COLUMNS[name])]


def list_problems(folder: Path, utts: Collection[str]) -> list[tuple[str, str, str]]:
    """What is wrong with the lists of a data folder of these utterances: (list, utterance or "", what)."""
    problems = []
    for name in OWN_COLUMNS:
        if (folder / name).is_file():
            try:
                unknown = unknown_utts(name, read_list(folder / name), utts)
            except SpeechrepError as error:
                problems.append((name, "", error.found.removeprefix(f"{folder / name}:")))
            else:
                problems += [(name, utt, "an utterance that the folder lacks") for utt in unknown]
    return problems


def cut_lists(folder: Path, utts: Collection[str]) -> None:
    """Leave the lines of other utterances out of the lists of a data folder."""
    for name in OWN_COLUMNS:
        if (folder / name).is_file():
            rows = read_list(folder / name)
            left = cut_list(name, rows, utts)
            if left != rows:
                write_text(folder / name, list_text(name, left))
