"""Spoken queries cut from the recordings of a data folder, for query by example in the same folder.

A query is one word, or a few that follow each other without a pause, with enough phones to be told from others. It has
to be said by another speaker in the same language too: only such documents count as hits (and `speechrep.tasks.qbe`
judges no document of the query's own speaker), so that neither a recording nor a voice is found by itself. Which
queries are taken depends on a hash of their words and on nothing drawn.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from speechrep.data.folder import DataFolder
from speechrep.data.words import Piece, Word, cut, langs_of, words_by_utt, words_of
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

MIN_PHONES = 5
MAX_WORDS = 3
"""Of a query. Words are added until it has enough phones."""
MIN_SEC = 0.25
COMMON = 0.5
"""A query that more than this share of the documents in its language hold is taken only where there is no other."""


@dataclass(frozen=True)
class Span:
    """A possible query: its words, and when an utterance says them, in seconds."""

    words: tuple[str, ...]
    utt: str
    start: float
    end: float


def spans_of(utt: str, words: list[Word]) -> list[Span]:
    """The possible queries of an utterance, from its words."""
    found = []
    for i, first in enumerate(words):
        for j in range(i, min(i + MAX_WORDS, len(words))):
            taken = words[i:j + 1]
            if sum(word.num_phones for word in taken) >= MIN_PHONES:
                paused = any(word.pause_within for word in taken) or any(word.pause_before for word in taken[1:])
                if not paused and taken[-1].end - first.start >= MIN_SEC:
                    found.append(Span(tuple(word.word for word in taken), utt, first.start, taken[-1].end))
                break
    return found


def cut_queries(documents: DataFolder, out: Path, count: int = 60) -> DataFolder:
    """Write the data folder `out` of at most `count` queries with `relevance`, languages in turn. It holds no audio of
    its own: `segments` name parts of the documents' recordings.

    documents: a folder with `text`, `phones`, `utt2spk`, `ali` or `ali.true`, and `utt2lang` where there is more than
    one language. Raises `SpeechrepError` where no word is said by two speakers.
    """
    texts, speakers, langs = documents.read("text"), documents.read("utt2spk"), langs_of(documents)
    said = {utt: words_of(text, langs[utt]) for utt, text in texts.items()}
    spans: dict[tuple[str, tuple[str, ...]], list[Span]] = {}
    for utt, words in words_by_utt(documents).items():
        for span in spans_of(utt, words):
            spans.setdefault((langs[utt], span.words), []).append(span)
    of_language = {lang: [utt for utt in said if langs[utt] == lang] for lang in set(langs.values())}
    ranked: dict[tuple[str, bool], list[tuple[Span, list[str]]]] = {}
    for lang, words in sorted(spans, key=lambda key: _digest(" ".join(key[1]))):
        holding = [utt for utt in of_language[lang] if _holds(said[utt], words)]
        possible = [span for span in spans[lang, words] if any(speakers[utt] != speakers[span.utt] for utt in holding)]
        if possible:
            span = min(possible, key=lambda span: _digest(f"{span.utt} {span.start}"))
            ranked.setdefault((lang, len(holding) > COMMON * len(of_language[lang])), []).append((span, holding))
    in_turn = [(place, lang, item) for (lang, common), items in ranked.items()
               if not common or (lang, False) not in ranked for place, item in enumerate(items)]
    chosen = [item for _, _, item in sorted(in_turn, key=lambda entry: entry[:2])][:count]
    if not chosen:
        raise SpeechrepError(f"{documents.path}: nothing to look for", "a word that two speakers say in one language",
                             "take a larger part of the corpus")
    return _write(documents, out, chosen, langs, speakers)


def _write(documents: DataFolder, out: Path, chosen: list[tuple[Span, list[str]]], langs: dict[str, str],
           speakers: dict[str, str]) -> DataFolder:
    pieces, texts, pairs = {}, {}, []
    for span, holding in chosen:
        query = f"{span.utt}-{round(span.start * 1000):06d}"
        pieces[query] = Piece(span.utt, span.start, span.end)
        texts[query] = ("" if langs[span.utt] == "zh" else " ").join(span.words)
        pairs += [(query, utt) for utt in holding if speakers[utt] != speakers[span.utt]]
    folder = cut(documents, out, pieces, {"text": texts})
    write_text(out / "relevance", "".join(f"{query} {utt}\n" for query, utt in sorted(pairs)))
    return folder


def _holds(words: list[str], wanted: tuple[str, ...]) -> bool:
    return any(tuple(words[i:i + len(wanted)]) == wanted for i in range(len(words) - len(wanted) + 1))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
