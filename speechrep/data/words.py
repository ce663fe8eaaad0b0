"""Single words of a corpus: when each is said, by the times of its phones, and data folders cut from its recordings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from speechrep.data.alignment import read_ali
from speechrep.data.folder import DataFolder, write_folder

MIN_SEC = 0.31
"""Of a token with its margins: training leaves out what is shorter than 0.3 s."""
MARGIN_SEC = 0.05
"""What is heard on both sides of a token's word."""
ALIGNMENTS = ("ali.true", "ali")
"""Phone times, the first that a folder has."""


@dataclass(frozen=True)
class Word:
    """A word of an utterance and when it is said, in seconds."""

    word: str
    start: float
    end: float
    num_phones: int
    pause_before: bool = False
    pause_within: bool = False


@dataclass(frozen=True)
class Piece:
    """A stretch of an utterance, in seconds from its beginning."""

    utt: str
    start: float
    end: float


@dataclass(frozen=True)
class Token:
    """A word to be heard by itself: its language, itself, and where it is said, with a margin on both sides."""

    lang: str
    word: str
    piece: Piece

    @property
    def key(self) -> str:
        """A name for it, of its utterance and its time."""
        return f"{self.piece.utt}-{round(self.piece.start * 1000):06d}"


def words_of(text: str, lang: str) -> list[str]:
    """The words of a text without marks and case; in Mandarin its characters."""
    words = re.findall(r"\w(?:[\w'’-]*\w)?", text.casefold())
    return list("".join(words)) if lang == "zh" else words


def groups_of(phones: str, lang: str) -> list[list[str]]:
    """The phones of each word; in Mandarin of each syllable, which ends with the phone that has the tone."""
    if lang != "zh":
        return [word.split() for word in phones.split("|")]
    groups: list[list[str]] = [[]]
    for phone in phones.replace("|", " ").split():
        groups[-1].append(phone)
        if phone[-1].isdigit():
            groups.append([])
    return groups if groups[-1] else groups[:-1]


def timed_words(text: str, phones: str, ali: str, lang: str) -> list[Word]:
    """The words of an utterance with their times; none where text, phones and times do not belong together word by word."""
    words, groups = words_of(text, lang), groups_of(phones, lang)
    names, ends = read_ali(ali)
    spoken = [name for name in names if name != "SIL"]
    if len(words) != len(groups) or spoken != [phone for group in groups for phone in group]:
        return []
    # Phone times without pauses, and behind which phones a pause stands.
    times, pauses, begin = [], set(), 0.0
    for name, end in zip(names, ends):
        if name == "SIL":
            pauses.add(len(times))
        else:
            times.append((begin, end))
        begin = end
    found, first = [], 0
    for word, group in zip(words, groups):
        last = first + len(group)
        if group:
            found.append(Word(word, times[first][0], times[last - 1][1], len(group), first in pauses,
                              any(first < pause < last for pause in pauses)))
        first = last
    return found


def words_by_utt(folder: DataFolder) -> dict[str, list[Word]]:
    """`timed_words` of every utterance that has `text`, `phones` and times, those that do not fit left out."""
    stream = next((name for name in ALIGNMENTS if folder.has(name)), ALIGNMENTS[-1])
    texts, phones, times = (folder.read(name) for name in ("text", "phones", stream))
    langs = langs_of(folder)
    known = [utt for utt in folder.utts if utt in times and utt in phones and utt in texts]
    return {utt: words for utt in known if (words := timed_words(texts[utt], phones[utt], times[utt], langs[utt]))}


def tokens_of(folder: DataFolder, min_phones: int) -> list[Token]:
    """Every word of so many phones that a folder says without a pause in it and long enough to be heard."""
    langs, seconds = langs_of(folder), folder.seconds
    found = []
    for utt, words in words_by_utt(folder).items():
        for word in words:
            piece = Piece(utt, max(0.0, word.start - MARGIN_SEC), min(seconds[utt], word.end + MARGIN_SEC))
            if word.num_phones >= min_phones and not word.pause_within and piece.end - piece.start >= MIN_SEC:
                found.append(Token(langs[utt], word.word, piece))
    return found


def langs_of(folder: DataFolder) -> dict[str, str]:
    """The language of each utterance; "" where there is only one and the folder does not say which."""
    return folder.read("utt2lang") if folder.has("utt2lang") else dict.fromkeys(folder.utts, "")


def cut(source: DataFolder, out: Path, pieces: Mapping[str, Piece],
        streams: Mapping[str, Mapping[str, str]] | None = None) -> DataFolder:
    """Write the data folder `out` of pieces (key -> where it lies) of the recordings of `source`.

    It holds no audio of its own: `segments` point into the recordings. Speaker, and language where `source` has it, are
    those of the utterance; `streams` come beside these.
    """
    recordings, speakers = source.read("wav.scp"), source.read("utt2spk")
    own = source.read("segments") if source.has("segments") else {}
    made: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "segments", "utt2spk", "utt2dur")}
    for key, piece in pieces.items():
        recording, begin = piece.utt, 0.0
        if own:
            recording, first = own[piece.utt].split()[:2]
            begin = float(first)
        made["wav.scp"][recording] = recordings[recording]
        made["segments"][key] = f"{recording} {begin + piece.start:.4f} {begin + piece.end:.4f}"
        made["utt2spk"][key] = speakers[piece.utt]
        made["utt2dur"][key] = f"{piece.end - piece.start:.6f}"
    if source.has("utt2lang"):
        langs = source.read("utt2lang")
        made["utt2lang"] = {key: langs[piece.utt] for key, piece in pieces.items()}
    return write_folder(out, {**made, **(streams or {})})
