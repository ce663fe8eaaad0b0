"""A published corpus -> data folders: what the local/prepare.py of such a recipe share.

    corpus = Corpus("LibriSpeech", data_dir, partial)
    corpus.add("train", utt, flac, {"text": words, "utt2spk": speaker})      # as often as there are utterances
    corpus.add_list("test", "trials", rows)                                  # where the corpus has such a list
    corpus.write({"train": {"utterances": 28539, "speakers": 251}}, "https://...")

A corpus of which files are missing, or whose counts differ from the published ones, is an error that names them; with
`partial` (the option --partial) it is a warning, what is missing is left out, and `left_out.tsv` says so.
"""

import argparse
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from speechrep.data.folder import write_folder
from speechrep.data.lists import OWN_COLUMNS, cut_list
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

FETCH = "fetch it again (stage 0, or local/download.sh --help); --partial goes on with what is there"
"""The cure where files of a corpus are missing."""

_SHOWN = 3


class Corpus:
    """The utterances of a corpus, collected part by part, then compared with what is published, then written."""

    def __init__(self, name: str, data_dir: str | Path, partial: bool = False):
        """
        Args:
            name: the corpus, for messages.
            data_dir: where a data folder for each part goes, and left_out.tsv.
            partial: go on where files are missing or counts differ.
        """
        self.name, self.data_dir, self.partial = name, Path(data_dir), partial
        self.streams: dict[str, dict[str, dict[str, str]]] = {}
        self.lists: dict[str, dict[str, list[tuple[str, ...]]]] = defaultdict(dict)
        self.left_out: dict[str, str] = {}
        self._dropped: list[str] = []
        self._others: dict[tuple[str, str], dict[int, Sequence[str]]] = {}
        self._missing: dict[str, set[str]] = defaultdict(set)

    def add(self, part: str, utt: str, path: str | Path, streams: Mapping[str, str],
            segment: tuple[str, float, float] | None = None, there: bool | None = None) -> bool:
        """One utterance; whether its sound file is there (`there`, where that is known already).

        Args:
            part: the data folder, such as "train" or "queries_dev".
            utt: its id.
            path: the sound file.
            streams: stream -> its line, without wav.scp; without utt2spk the speaker is unknown and the utterance itself
                takes that place. A key `spk2...` is kept by speaker.
            segment: recording id, start and end in seconds (-1: the end of the recording), where it is a part of a file.

        Raises:
            SpeechrepError: the id stands for two utterances of this part.
        """
        tables = self.streams.setdefault(part, {"wav.scp": {}, "utt2spk": {}})
        if utt in tables["utt2spk"] or utt in self._missing[part]:
            raise SpeechrepError(f"{self.name}: the utterance '{utt}' is twice in {part}: {path}", "ids that tell them apart",
                                 "look for a second copy of a folder below the corpus")
        if not (Path(path).is_file() if there is None else there):
            self._missing[part].add(utt)
            self.leave_out(utt, f"{path}: no such file")
            return False
        tables["utt2spk"][utt] = streams.get("utt2spk", utt)
        tables["wav.scp"][segment[0] if segment else utt] = str(path)
        if segment:
            tables.setdefault("segments", {})[utt] = f"{segment[0]} {segment[1]:g} {segment[2]:g}"
        for name, value in streams.items():
            key = tables["utt2spk"][utt] if name.startswith("spk2") else utt
            tables.setdefault(name, {})[key] = value
        return True

    def add_list(self, part: str, name: str, rows: Iterable[tuple[str, ...]],
                 others: Mapping[int, Sequence[str]] | None = None) -> None:
        """`trials`, `relevance` or `rttm` of a part, see `speechrep.data.lists`.

        `others`: column from 0 -> the parts whose utterances it names, where that is not this part: {1: ["docs"]}.
        """
        self.lists[part][name] = list(rows)
        self._others[part, name] = dict(others or {})

    def drop(self, part: str) -> None:
        """A data folder that another setting of the recipe makes: writing removes it, lest it be taken for this one's."""
        self._dropped.append(part)

    def leave_out(self, utt: str, why: str) -> None:
        """An utterance that is not prepared, with the reason, for left_out.tsv."""
        self.left_out[utt] = why

    def utts(self, part: str) -> set[str]:
        """The utterances of a part whose sound is there."""
        return set(self.streams.get(part, {}).get("utt2spk", {}))

    def counts(self, part: str) -> dict[str, int]:
        """What can be compared: "utterances", "speakers", the lines of each list, by its name; and of each stream NAME the
        distinct values as "NAME" and the lines as "lines of NAME"."""
        tables = self.streams.get(part, {})
        counts = {name: len(set(table.values())) for name, table in tables.items()}
        counts |= {f"lines of {name}": len(table) for name, table in tables.items()}
        counts |= {name: len(rows) for name, rows in self.lists.get(part, {}).items()}
        speakers = tables.get("utt2spk", {})
        return counts | {"utterances": len(speakers), "speakers": len(set(speakers.values()))}

    def write(self, published: Mapping[str, Mapping[str, int]] | None = None, source: str = "") -> None:
        """Compare with what is published (part -> what -> number, see `counts`; `source`: who says so), then write.

        Raises `SpeechrepError`, before anything is written, for missing files, other counts and lists that name unknown
        utterances, all unless `partial`; and, whatever that is, for a part without utterances.
        """
        self._check_files()
        self._check_lists()
        self._check_counts(published or {}, source)
        for part in dict.fromkeys([*self.streams, *self.lists]):
            if not self.utts(part):
                raise SpeechrepError(f"{self.name}: no utterances for {part}", "the sound files of the corpus", FETCH)
        for part in self._dropped:
            if (self.data_dir / part / "wav.scp").is_file():
                shutil.rmtree(self.data_dir / part)
                print(f"{self.data_dir / part}: removed, other settings made it")
        for part, tables in self.streams.items():
            if "segments" in tables:
                # Where one utterance is a part of a file, all need a segment: the whole of their own.
                named = {line.split()[0] for line in tables["segments"].values()}
                tables["segments"] |= {utt: f"{utt} 0 -1" for utt in tables["utt2spk"] if utt not in tables["segments"]}
                unnamed = set(tables["wav.scp"]) - named - set(tables["segments"])
                tables["wav.scp"] = {key: path for key, path in tables["wav.scp"].items() if key not in unnamed}
            write_folder(self.data_dir / part, tables, self.lists.get(part))
            counts = self.counts(part)
            print(f"{self.data_dir / part}: {counts['utterances']} utterances of {counts['speakers']} speakers"
                  + "".join(f", {len(rows)} lines of {name}" for name, rows in self.lists.get(part, {}).items()))
        write_text(self.data_dir / "left_out.tsv", "".join(f"{utt}\t{why}\n" for utt, why in sorted(self.left_out.items())))
        if self.left_out:
            print(f"{len(self.left_out)} left out, see {self.data_dir / 'left_out.tsv'}")

    def _check_files(self) -> None:
        missing = [utt for utts in self._missing.values() for utt in utts]
        if missing:
            shown = "; ".join(self.left_out[utt] for utt in sorted(missing)[:_SHOWN])
            self.complain(f"{len(missing)} sound files are missing: {shown}{' ...' if len(missing) > _SHOWN else ''}",
                           "every file that the corpus names")

    def _check_lists(self) -> None:
        for part, lists in self.lists.items():
            for name, rows in lists.items():
                homes = {column: [part] for column in OWN_COLUMNS[name]} | self._others[part, name]
                known = {column: set().union(*(self.utts(home) for home in parts)) for column, parts in homes.items()}
                good = [row for row in rows if all(row[column] in utts for column, utts in known.items())]
                if len(good) < len(rows):
                    unknown = sorted({row[column] for row in rows for column, utts in known.items()} -
                                     set().union(*known.values()))
                    self.complain(f"{part}: {len(rows) - len(good)} of {len(rows)} lines of {name} name utterances that are "
                                   f"not there, such as {', '.join(unknown[:_SHOWN])}", "utterances of the corpus")
                lists[name] = cut_list(name, good, self.utts(part))

    def _check_counts(self, published: Mapping[str, Mapping[str, int]], source: str) -> None:
        differences = []
        for part, wanted in published.items():
            found = self.counts(part)
            differences += [f"{part} has {found.get(what, 0)} {what} instead of {number}"
                            for what, number in wanted.items() if found.get(what, 0) != number]
        if differences:
            self.complain("; ".join(differences), f"the counts as published{f' ({source})' if source else ''}")

    def complain(self, found: str, wanted: str) -> None:
        """What is wrong with the corpus: an error, or with --partial a warning."""
        if not self.partial:
            raise SpeechrepError(f"{self.name}: {found}", wanted, FETCH)
        print(f"warning: {self.name}: {found} (wanted: {wanted})", file=sys.stderr)


def corpus_parser(doc: str, partial: bool = True) -> argparse.ArgumentParser:
    """The options of a local/prepare.py whose docstring is `doc`; partial: whether it can go on with a part of the corpus."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("corpus_dir", type=Path, help="the unpacked corpus, for example downloads/corpus")
    parser.add_argument("data_dir", type=Path, help="where the data folders go, for example data")
    if partial:
        parser.add_argument("--partial", action="store_true",
                            help="go on where files are missing or counts differ from the published ones, and say so")
    return parser


def run_prepare(prepare: Callable[..., None], parser: argparse.ArgumentParser) -> None:
    """Call `prepare` with the options by their names; errors for people end the program without a traceback."""
    try:
        prepare(**vars(parser.parse_args()))
    except SpeechrepError as error:
        sys.exit(f"error: {error}")


def find_folder(corpus_dir: str | Path, marker: str, names: Sequence[str] = ()) -> Path:
    """The folder that holds `marker` (a path below it): `corpus_dir`, or one of `names` in it, or any folder of it.

    Raises `SpeechrepError` where there is none.
    """
    corpus_dir = Path(corpus_dir)
    if not corpus_dir.is_dir():
        raise SpeechrepError(f"{corpus_dir}: no such folder", "the folder of the unpacked corpus", FETCH.partition(";")[0])
    for folder in [corpus_dir, *(corpus_dir / name for name in names), *sorted(corpus_dir.glob("*/"))]:
        if (folder / marker).exists():
            return folder
    raise SpeechrepError(f"{corpus_dir}: no {marker} in it, nor in a folder of it", "the corpus unpacked as published",
                         FETCH.partition(";")[0])


def read_lines(path: str | Path, what: str) -> list[str]:
    """The lines of a text file of the corpus, stripped, without empty ones. `what` it is, for messages.

    Raises `SpeechrepError` if it is missing or not UTF-8.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        raise SpeechrepError(f"{path}: no such file", what, FETCH.partition(";")[0]) from None
    except UnicodeDecodeError:
        raise SpeechrepError(f"{path}: not UTF-8", what, "fetch it again") from None
    return [line.strip() for line in lines if line.strip()]


def split_fields(path: str | Path, what: str, count: int, separator: str | None = None) -> list[list[str]]:
    """The lines of a file as fields. Raises `SpeechrepError` as `read_lines`, and for a line that has not `count` of them."""
    rows = [line.split(separator) for line in read_lines(path, what)]
    for number, row in enumerate(rows, 1):
        if len(row) != count:
            raise SpeechrepError(f"{path}: {len(row)} fields in '{' '.join(row)[:80]}' (line {number} that is not empty)",
                                 f"{what}: {count} fields a line", "fetch it again")
    return rows
