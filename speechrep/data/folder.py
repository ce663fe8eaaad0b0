"""Kaldi's data folder: one file a stream, one line an utterance, `utt-id rest`, sorted by utterance id.

The order is that of the C locale (by bytes), which for UTF-8 is also Python's order of strings. Paths inside `wav.scp`
and other scp files are kept as they are written and, as in Kaldi, read relative to the working directory.
"""

import errno
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from speechrep.data import audio
from speechrep.data.lists import OWN_COLUMNS, cut_list, list_text, read_list, unknown_utts
from speechrep.data.rttm import read_rttm
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_folder, fingerprint, write_text

STREAM_NAME = re.compile(r"[a-z0-9_]+(\.scp)?|(text|units|ali)\.[A-Za-z0-9_.-]+")
"""File names that are streams; anything else in the folder (README, notes.md, skipped.tsv) is left alone, save the
lists of `speechrep.data.lists`, which are no streams although named like one."""


def is_stream(name: str) -> bool:
    """Whether a file of this name in a data folder is a stream, a line an utterance."""
    return name not in OWN_COLUMNS and STREAM_NAME.fullmatch(name) is not None


def bad_id(key: str) -> str:
    """What is wrong with `key` as the id of an utterance, recording or speaker; "" if nothing is."""
    if not key:
        return "an empty id"
    if re.search(r"\s", key):
        return f"a space in the id '{key}'"
    if "/" in key or "\0" in key or key in (".", ".."):
        return f"an id that cannot be a file name, '{key}'"
    return ""


def read_table(path: str | Path) -> dict[str, str]:
    """The lines `key rest` of a table, in the order of the file; `rest` is "" where the line holds only a key.

    Raises `SpeechrepError` for a missing or undecodable file, an empty line, and duplicate or unsorted keys.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise SpeechrepError(f"{path}: no such file", "a table with lines 'utterance-id rest'") from None
    table: dict[str, str] = {}
    last = ""
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else (), 1):
        fields = line.split(None, 1)
        try:
            key, rest = fields[0].decode(), fields[1].rstrip().decode() if len(fields) > 1 else ""
        except IndexError:
            raise SpeechrepError(f"{path}:{number}: an empty line", "an utterance id on every line") from None
        except UnicodeDecodeError:
            name = fields[0].decode(errors="backslashreplace")
            raise SpeechrepError(f"{path}:{number}: {name}: not UTF-8", "UTF-8 text",
                                 f"convert it: iconv -f LATIN1 -t UTF-8 {path}") from None
        if key <= last:
            what = "twice" if key in table else f"after '{last}'"
            raise SpeechrepError(f"{path}:{number}: '{key}' stands {what}", "each id once, sorted in the C locale",
                                 f"run: LC_ALL=C sort -u -o {path} {path}")
        table[key] = rest
        last = key
    return table


def table_text(table: Mapping[str, str]) -> str:
    """`table` as the text of a file, sorted by key. Raises `SpeechrepError` for a bad id or a line break in a value."""
    lines = []
    for key in sorted(table):
        rest = table[key]
        if bad_id(key):
            raise SpeechrepError(bad_id(key), "ids without spaces and slashes", "rename it")
        if "\n" in rest or "\r" in rest:
            raise SpeechrepError(f"{key}: a line break in its value {rest!r}", "one line an utterance")
        lines.append(f"{key} {rest}".rstrip(" ") + "\n")
    return "".join(lines)


def write_table(path: str | Path, table: Mapping[str, str]) -> None:
    """Write the lines `key rest`, sorted by key, atomically."""
    write_text(path, table_text(table))


def spk2utt(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """The inverse of `utt2spk`: speaker -> its utterances, sorted and separated by spaces."""
    inverse: dict[str, list[str]] = {}
    for utt in sorted(utt2spk):
        inverse.setdefault(utt2spk[utt], []).append(utt)
    return {speaker: " ".join(utts) for speaker, utts in inverse.items()}


def split(utts: list[str], n: int) -> list[list[str]]:
    """`utts` in at most `n` contiguous parts, none empty, whose sizes differ by one at most."""
    n = max(1, min(n, len(utts)))
    bounds = [len(utts) * i // n for i in range(n + 1)]
    return [utts[start:end] for start, end in zip(bounds, bounds[1:])]


def write_folder(path: str | Path, streams: Mapping[str, Mapping[str, str]],
                 lists: Mapping[str, list[tuple[str, ...]]] | None = None) -> "DataFolder":
    """Make the data folder `path` from `streams` (stream -> utterance -> line), replacing all that is there: sound files
    belong elsewhere. `lists` -> rows of `trials`, `relevance` or `rttm`.

    `spk2utt` is derived from `utt2spk`. Raises `SpeechrepError` for a bad id, or an utterance that is in a stream or a
    list but not in `segments` (or `wav.scp`, where there are no segments).
    """
    if not streams.get("wav.scp"):
        raise SpeechrepError(f"{path}: no audio for it", "a wav.scp with at least one line")
    utts = streams.get("segments") or streams["wav.scp"]
    streams = {name: table for name, table in streams.items() if name != "spk2utt"}
    for name, table in streams.items():
        extra = [] if key_kind(name, "segments" in streams) != "utterance" else sorted(set(table) - set(utts))
        if extra:
            raise SpeechrepError(f"{path}/{name}: {len(extra)} utterances without audio, such as '{extra[0]}'",
                                 "utterances of wav.scp or segments")
    if streams.get("utt2spk"):
        streams["spk2utt"] = spk2utt(streams["utt2spk"])
    texts = {name: table_text(table) for name, table in streams.items()}
    for name, rows in (lists or {}).items():
        unknown = unknown_utts(name, rows, utts)
        if unknown:
            raise SpeechrepError(f"{path}/{name}: {len(unknown)} utterances without audio, such as '{unknown[0]}'",
                                 "utterances of wav.scp or segments")
        texts[name] = list_text(name, rows)
    with atomic_folder(path) as tmp:
        for name, text in texts.items():
            (tmp / name).write_text(text, encoding="utf-8")
    return DataFolder(path)


def tables_digest(*paths: Path) -> str:
    """What data folders say, and other files hold: the same only where their contents are, in whatever order they are
    named. Left out are `units.*`, of which there are new ones whenever a method is trained on them, and what a process
    has not finished."""
    found = []
    for path in paths:
        files = [path] if path.is_file() else sorted(
            file for file in path.iterdir() if file.is_file() and not file.name.startswith((".", "units.")))
        found.append(fingerprint(*(word for file in files for word in (file.name, file))))
    return fingerprint(sorted(found))


class DataFolder:
    """A data folder on disk. Raises `SpeechrepError` if the folder or its `wav.scp` is missing."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise SpeechrepError(f"{self.path}: no such folder", "a data folder", "run stage 1 (prepare) of the recipe")
        if not (self.path / "wav.scp").is_file():
            raise SpeechrepError(f"{self.path}: no wav.scp in it", "a data folder with lines 'utterance-id file.wav'",
                                 "run stage 1 (prepare) of the recipe")
        self._tables: dict[str, dict[str, str]] = {}

    def __repr__(self) -> str:
        return f"DataFolder('{self.path}')"

    @property
    def name(self) -> str:
        """The last part of its path: train, dev, ..."""
        return self.path.name or self.path.resolve().name

    @property
    def utts(self) -> list[str]:
        """Its utterances, sorted: those of `segments` if there, else those of `wav.scp`."""
        return list(self.read("segments" if self.has("segments") else "wav.scp"))

    def has(self, stream: str) -> bool:
        """Whether the folder holds this stream."""
        return (self.path / stream).is_file()

    def streams(self) -> list[str]:
        """The names of its streams, sorted."""
        return sorted(p.name for p in self.path.iterdir() if p.is_file() and is_stream(p.name))

    def read(self, stream: str) -> dict[str, str]:
        """Utterance -> rest of its line, sorted. Kept in memory: not to be changed by the caller.

        `spk2utt` is by speaker, and `wav.scp` by recording where there are segments; the turns of `rttm` are joined to a
        line an utterance (see `speechrep.data.rttm`). Raises `SpeechrepError` if the stream is missing or malformed, and for
        an `rttm` that lacks an utterance, which could be silent or forgotten.
        """
        if stream not in self._tables:
            if not self.has(stream):
                raise SpeechrepError(f"{self.path}: no '{stream}' in it (it has {', '.join(self.streams())})",
                                     f"the stream '{stream}'", "run the stage that makes it, or name another folder")
            table = read_rttm(self.path / stream) if stream == "rttm" else read_table(self.path / stream)
            odd = sorted(set(table) ^ set(self.utts)) if stream == "rttm" else []
            if odd:
                raise SpeechrepError(f"{self.path}/rttm: {len(odd)} utterances that either it or the folder lacks, such as "
                                     f"'{odd[0]}'", "turns of each utterance of the folder, and of no other")
            self._tables[stream] = table
        return self._tables[stream]

    def labels(self, stream: str) -> dict[str, str]:
        """The stream less its blank lines: an utterance whose label is blank has none. In `rttm` a blank line is one: that
        nobody speaks."""
        table = self.read(stream)
        return table if stream == "rttm" else {utt: line for utt, line in table.items() if line.strip()}

    def write(self, stream: str, table: Mapping[str, str]) -> None:
        """Write a stream, sorted and atomically. Raises `SpeechrepError` for utterances that the folder lacks.

        Writing `utt2spk` writes `spk2utt` too.
        """
        if key_kind(stream, self.has("segments")) == "utterance" and stream not in ("wav.scp", "segments"):
            extra = sorted(set(table) - set(self.utts))
            if extra:
                raise SpeechrepError(f"{self.path}/{stream}: {len(extra)} utterances that the folder lacks, such as "
                                     f"'{extra[0]}'", "utterances of wav.scp or segments")
        write_table(self.path / stream, table)
        self._tables[stream] = {key: table[key].strip() for key in sorted(table)}
        if stream == "utt2spk":
            self.write("spk2utt", spk2utt(table))

    @property
    def seconds(self) -> dict[str, float]:
        """Utterance -> duration in seconds: from `utt2dur`, else from the audio's headers and then stored there."""
        utts = self.utts
        if self.has("utt2dur"):
            durations = self.read("utt2dur")
            if all(utt in durations for utt in utts):
                try:
                    return {utt: float(durations[utt]) for utt in utts}
                except ValueError as error:
                    raise SpeechrepError(f"{self.path}/utt2dur: {error}", "seconds",
                                         f"remove {self.path}/utt2dur; it is made again") from None
        durations = {utt: f"{seconds:.6f}" for utt, seconds in audio.measure_seconds(self).items()}
        try:
            self.write("utt2dur", durations)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EROFS, errno.EPERM):
                raise
        return {utt: float(text) for utt, text in durations.items()}

    def subset(self, utts: Iterable[str], out_path: str | Path,
               more: Mapping[str, Mapping[str, str]] | None = None, without: Collection[str] = ()) -> "DataFolder":
        """Write a data folder with only these utterances, every stream and list cut to them but those in `without`, and
        return it; `more` are streams to be in it too, or in place of its own.

        Streams that hold none of the utterances are left out. Raises `SpeechrepError` for an unknown utterance.
        """
        wanted = set(utts)
        unknown = sorted(wanted - set(self.utts))
        if unknown:
            raise SpeechrepError(f"{self.path}: {len(unknown)} unknown utterances, such as '{unknown[0]}'")
        keys = {"utterance": wanted}
        if self.has("segments"):
            segments = self.read("segments")
            keys["recording"] = {segments[utt].split()[0] for utt in wanted}
        else:
            keys["recording"] = wanted
        if self.has("utt2spk"):
            keys["speaker"] = {spk for utt, spk in self.read("utt2spk").items() if utt in wanted}
        cut = {}
        for stream in (name for name in self.streams() if name not in without):
            kept = keys.get(key_kind(stream, self.has("segments")), set())
            table = {key: rest for key, rest in self.read(stream).items() if key in kept}
            if table and stream != "spk2utt":
                cut[stream] = table
        lists = {name: cut_list(name, read_list(self.path / name), wanted) for name in OWN_COLUMNS
                 if self.has(name) and name not in without}
        return write_folder(out_path, cut | dict(more or {}), {name: rows for name, rows in lists.items() if rows})


def key_kind(stream: str, segmented: bool) -> str:
    """By what a stream is keyed: utterance, recording or speaker. `segmented`: the folder has segments."""
    if stream.startswith("spk2"):
        return "speaker"
    return "recording" if stream.startswith("reco2") or (stream == "wav.scp" and segmented) else "utterance"
