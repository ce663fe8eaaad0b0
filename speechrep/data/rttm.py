"""Who speaks when: NIST's RTTM files, and the same as one line an utterance.

A line of RTTM is `SPEAKER FILE CHANNEL START DURATION <NA> <NA> NAME <NA> <NA>`, times in seconds (NIST, RT-09
evaluation plan, appendix A; before, without the last field); lines of other types are passed over. As one line an
utterance, turns are triples `NAME START END`.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechrep.errors import SpeechrepError
from speechrep.files import write_text

Turn = tuple[str, float, float]
"""A speaker, and when a turn begins and ends, in seconds."""


SHORTEST_SEC = 1e-4
"""Turns shorter than what is written of times are none."""
FORMAT = "SPEAKER FILE CHANNEL START DURATION <NA> <NA> NAME <NA> <NA>"


def turn_of(fields: Sequence[str]) -> tuple[str, float, float]:
    """Speaker, start and duration in seconds, in the fields of a SPEAKER line. Raises `ValueError`, which says what is
    wrong."""
    if len(fields) not in (9, 10) or fields[0] != "SPEAKER":
        raise ValueError("not a SPEAKER line of RTTM")
    try:
        start, seconds = float(fields[3]), float(fields[4])
    except ValueError:
        raise ValueError("no start and duration in seconds") from None
    if not (0 <= start < math.inf and 0 <= seconds < math.inf):
        raise ValueError("a negative or endless start or duration")
    return fields[7], start, seconds


def read_turns(line: str) -> list[Turn]:
    """`ann 0.5000 1.2500 bob 1.0000 3.0000` -> turns; an empty line has none."""
    words = line.split()
    try:
        turns = [(words[i], float(words[i + 1]), float(words[i + 2])) for i in range(0, len(words), 3)]
    except (IndexError, ValueError):
        turns = [("", 1.0, 0.0)]
    if any(not 0 <= start < end for _, start, end in turns):
        raise SpeechrepError(f"turns '{line[:80]}'", "triples of a speaker, start and end in seconds, start before end")
    return turns


def format_turns(turns: list[Turn]) -> str:
    """The line that `read_turns` reads, sorted by start, times to 0.1 ms."""
    return " ".join(f"{name} {start:.4f} {end:.4f}" for name, start, end in
                    sorted(turns, key=lambda turn: (turn[1], turn[2], turn[0])))


def read_rttm(path: str | Path) -> dict[str, str]:
    """Recording -> its turns as `format_turns` writes them, sorted by recording; lines may stand in any order. Turns of no
    length are passed over. Raises `SpeechrepError` for a line of type SPEAKER that is not as above."""
    path = Path(path)
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0] != "SPEAKER":
            continue
        try:
            name, start, seconds = turn_of(words)
        except ValueError as error:
            raise SpeechrepError(f"{path}:{number}: {error}: '{line[:80]}'", f"{FORMAT}, times not below 0") from None
        if seconds >= SHORTEST_SEC:
            found.setdefault(words[1], []).append((name, start, start + seconds))
    return {recording: format_turns(found[recording]) for recording in sorted(found)}


def rttm_text(turns: Mapping[str, list[Turn]]) -> str:
    """Recording -> turns as the text of an RTTM file, sorted by recording and start; channel 1."""
    return "".join(f"SPEAKER {recording} 1 {start:.4f} {end - start:.4f} <NA> <NA> {name} <NA> <NA>\n"
                   for recording in sorted(turns)
                   for name, start, end in sorted(turns[recording], key=lambda turn: (turn[1], turn[2], turn[0])))


def write_rttm(path: str | Path, turns: Mapping[str, list[Turn]]) -> None:
    """Write `turns` as an RTTM file, atomically."""
    write_text(path, rttm_text(turns))
