"""Some descriptions with the pictures that they find, to be heard and seen."""

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.metrics.score import read_per_utt
from speechrep.report.listen import Clip, data_uri
from speechrep.upstream import RANDOM

ROWS = 12
PLACE = "speech_to_picture_place"
"""Column of per_utt.tsv."""


@dataclass
class Found:
    """One description."""

    clip: Clip
    text: str
    language: str
    meant: str
    """Its picture, as an address that holds it."""
    place: int
    """Of the first picture that it may mean, from 1."""
    of: int
    """Pictures in all."""
    found: list[tuple[str, bool]]
    """The first ones, and whether each is its own."""


def choose(scores: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The score whose finds are shown: the first, by path, of a trained system."""
    for score in scores:
        source = ((score["provenance"] or {}).get("config") or {}).get("checkpoint", "")
        if score["task"] == "pictures" and not str(source).startswith(RANDOM):
            return score
    return None


def examples(scored: Path, folder: DataFolder, rows: int = ROWS) -> list[Found]:
    """Descriptions of `folder`, evenly spread over its utterances, with what per_utt.tsv in `scored` says of them.

    Raises `SpeechrepError` where the table is missing, of other data, of an earlier version, or a picture is missing.
    """
    path = scored / "per_utt.tsv"
    table = read_per_utt(path) if path.is_file() else {}
    pictures, texts = folder.read("image.scp"), folder.read("text")
    languages = folder.read("utt2lang") if folder.has("utt2lang") else {}
    utts = sorted(table)
    if not utts or not {"found", PLACE} <= table[utts[0]].keys() or not set(utts) <= set(pictures):
        raise SpeechrepError(f"{path}: not what descriptions of {folder.path} find",
                             f"utterances of that folder, with columns 'found' and '{PLACE}'",
                             "run `speechrep score pictures` again")
    chosen = [utts[i * len(utts) // rows] for i in range(rows)] if len(utts) > rows else utts
    count = len({pictures[utt] for utt in utts})
    return [Found(Clip(folder, utt), texts[utt], languages.get(utt, ""), _uri(pictures[utt]),
                  round(float(table[utt][PLACE])), count,
                  [(_uri(pictures[other]), pictures[other] == pictures[utt]) for other in table[utt]["found"].split()])
            for utt in chosen]


def _uri(path: str) -> str:
    try:
        return data_uri(Path(path).read_bytes(), mimetypes.guess_type(path)[0] or "image/png")
    except OSError as error:
        raise SpeechrepError(f"{path}: {error.strerror}", "a picture", "run the recipe's stage 1 again") from None
