"""Praat's TextGrid: interval tiers, read in the long and the short text format, written in the long one."""

import re
from pathlib import Path
from typing import NamedTuple

from speechrep.errors import SpeechrepError
from speechrep.files import write_text

_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![^\s\[])(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![^\s])|<(exists|absent)>')


class Interval(NamedTuple):
    """A stretch of time in seconds and its label."""

    start: float
    end: float
    label: str


def write_textgrid(path: str | Path, tiers: dict[str, list[Interval]], sync: bool = True) -> None:
    """Write interval tiers by name. The intervals of a tier must follow each other; gaps are filled with empty ones. sync: as
    of `speechrep.files.atomic_path`."""
    end = max((items[-1].end for items in tiers.values() if items), default=0.0)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end:.6f}",
             "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, items) in enumerate(tiers.items(), 1):
        filled = _filled(items, end, f"{path}: tier {name}")
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}",
                  "        xmin = 0", f"        xmax = {end:.6f}", f"        intervals: size = {len(filled)}"]
        for index, item in enumerate(filled, 1):
            lines += [f"        intervals [{index}]:", f"            xmin = {item.start:.6f}",
                      f"            xmax = {item.end:.6f}", f"            text = {_quoted(item.label)}"]
    write_text(path, "\n".join(lines) + "\n", sync)


def read_textgrid(path: str | Path) -> dict[str, list[Interval]]:
    """Interval tiers by name; point tiers are left out. UTF-8 and UTF-16 with a byte order mark are understood.

    Raises `SpeechrepError` for anything that is not a TextGrid in text format, or is cut short.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such file", "a TextGrid") from None
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise SpeechrepError(f"{path}: neither UTF-8 nor UTF-16", "a TextGrid in text format") from None
    tokens = iter([m[1].replace('""', '"') if m[1] is not None else float(m[2]) if m[2] else m[3]
                   for m in _TOKEN.finditer(_without_indices(text))])
    try:
        if next(tokens) != "ooTextFile" or next(tokens) != "TextGrid":
            raise SpeechrepError(f"{path}: not a TextGrid", "a file that begins with 'File type = \"ooTextFile\"'")
        next(tokens), next(tokens)
        count = int(next(tokens)) if next(tokens) == "exists" else 0
        tiers: dict[str, list[Interval]] = {}
        for _ in range(count):
            kind, name = next(tokens), str(next(tokens))
            next(tokens), next(tokens)
            size = int(next(tokens))
            if kind == "IntervalTier":
                tiers[name] = [Interval(float(next(tokens)), float(next(tokens)), str(next(tokens)))
                               for _ in range(size)]
            else:
                for _ in range(size):
                    next(tokens), next(tokens)
        return tiers
    except (StopIteration, ValueError, TypeError):
        raise SpeechrepError(f"{path}: cut short or malformed", "a whole TextGrid in text format") from None


def _without_indices(text: str) -> str:
    """The numbers in `item [1]:` are no values; labels with brackets stay, since quotes are skipped."""
    return re.sub(r'("(?:[^"]|"")*")|\[\d*\]:?', lambda m: m[1] or "", text)


def _quoted(label: str) -> str:
    return '"' + label.replace('"', '""') + '"'


def _filled(items: list[Interval], end: float, where: str) -> list[Interval]:
    filled: list[Interval] = []
    at = 0.0
    for item in items:
        if item.start < at - 1e-6 or item.end < item.start:
            raise SpeechrepError(f"{where}: '{item.label}' from {item.start} to {item.end} after {at}", "rising times")
        if item.start > at + 1e-6:
            filled.append(Interval(at, item.start, ""))
        filled.append(Interval(max(at, item.start), item.end, item.label))
        at = item.end
    if end > at + 1e-6 or not filled:
        filled.append(Interval(at, end, ""))
    return filled
