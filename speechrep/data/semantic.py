"""Spoken words beside judgements of how much they have to do with each other: gold.csv and pairs.csv, as ZeroSpeech 2021's
semantic task has them (`speechrep score ssimi`)."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechrep.data.folder import DataFolder
from speechrep.data.words import Piece, cut
from speechrep.files import write_text

LEAST_PAIRS = 10
"""Of fewer, which is all that some small corpora hold, a rank correlation says nothing."""


def read_judgements(path: Path) -> list[list[str]]:
    """Lines of word, word, judgement, by tabs; what begins with # says what they are."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def semantic_folders(parts: Sequence[DataFolder], tokens: Sequence[Mapping[str, tuple[str, Piece]]],
                     judged: Sequence[Sequence[str]], kind: str, dataset: str, voices: bool) -> list[DataFolder]:
    """Make semantic_PART beside each of `parts`, or none where one of these holds too few of the judged pairs.

    Nothing is copied: `segments` point into the recordings. tokens: of each part, id of a spoken word -> word and where it
    is. kind, dataset: what the benchmark calls `type` and `dataset`. voices: whether a word is compared with another of the
    same voice only.
    """
    spoken = [{word for word, _ in found.values()} for found in tokens]
    pairs = [[pair for pair in judged if set(pair[:2]) <= own] for own in spoken]
    if min(map(len, pairs)) < LEAST_PAIRS:
        return []
    return [_folder(*one, kind, dataset, voices) for one in zip(parts, tokens, pairs)]


def _folder(folder: DataFolder, tokens: Mapping[str, tuple[str, Piece]], pairs: Sequence[Sequence[str]], kind: str,
            dataset: str, voices: bool) -> DataFolder:
    judged = {word for pair in pairs for word in pair[:2]}
    kept = {key: token for key, token in sorted(tokens.items()) if token[0] in judged}
    speakers = folder.read("utt2spk")
    made = cut(folder, folder.path.with_name(f"semantic_{folder.path.name}"), {key: piece for key, (_, piece) in kept.items()})
    _write(made.path / "gold.csv", ("type", "word", "filename", "voice"),
           [(kind, word, key, speakers[piece.utt] if voices else "") for key, (word, piece) in kept.items()])
    _write(made.path / "pairs.csv", ("type", "dataset", "word_1", "word_2", "similarity", "relatedness"),
           [(kind, dataset, first, second, "", value) for first, second, value in pairs])
    return made


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())
