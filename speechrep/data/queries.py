"""Spoken queries cut from the recordings of a data folder, for query by example in the same folder.

A query is one word, or a few that follow each other without a pause, with enough phones to be told from others. It has
to be said by another speaker in the same language too: only such documents count as hits (and `speechrep.tasks.qbe`
judges no document of the query's own speaker), so that neither a recording nor a voice is found by itself. Which
queries are taken depends on a hash of their words and on nothing drawn.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from speechrep.data.alignment import read_ali
from speechrep.data.folder import DataFolder, write_folder
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

MIN_PHONES = 5
MAX_WORDS = 3
"""Of a query. Words are added until it has enough phones."""
MIN_SEC = 0.25
COMMON = 0.5
"""A query that more than this share of the documents in its language hold is taken only where there is no other."""
ALIGNMENTS = ("ali.true", "ali")
"""Phone times, the first that a folder has."""


@dataclass(frozen=True)
class Span:
    """A possible query: its words, and when an utterance says them, in seconds."""

    words: tuple[str, ...]
    utt: str
    start: float
    end: float


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


def spans_of(utt: str, text: str, phones: str, ali: str, lang: str) -> list[Span]:
    """The possible queries of an utterance; none where text, phones and times do not belong together word by word."""
    words, groups = words_of(text, lang), groups_of(phones, lang)
    names, ends = read_ali(ali)
    # Phone times without pauses, and behind which phones a pause stands.
    times, pauses, begin = [], set(), 0.0
    for name, end in zip(names, ends):
        if name == "SIL":
            pauses.add(len(times))
        else:
            times.append((begin, end))
        begin = end
    if len(words) != len(groups) or [name for name in names if name != "SIL"] != [p for group in groups for p in group]:
        return []
    firsts = [sum(len(group) for group in groups[:i]) for i in range(len(groups) + 1)]
    found = []
    for i in range(len(words)):
        fits = [j for j in range(i + 1, min(i + MAX_WORDS, len(words)) + 1) if firsts[j] - firsts[i] >= MIN_PHONES]
        if not fits or any(firsts[i] < pause < firsts[fits[0]] for pause in pauses):
            continue
        start, end = times[firsts[i]][0], times[firsts[fits[0]] - 1][1]
        if end - start >= MIN_SEC:
            found.append(Span(tuple(words[i:fits[0]]), utt, start, end))
    return found


def cut_queries(documents: DataFolder, out: Path, count: int = 60) -> DataFolder:
    """Write the data folder `out` of at most `count` queries with `relevance`, languages in turn. It holds no audio of
    its own: `segments` name parts of the documents' recordings.

    documents: a folder with `text`, `phones`, `utt2spk`, `ali` or `ali.true`, and `utt2lang` where there is more than
    one language. Raises `SpeechrepError` where no word is said by two speakers.
    """
    texts, phones, speakers = (documents.read(stream) for stream in ("text", "phones", "utt2spk"))
    stream = next((name for name in ALIGNMENTS if documents.has(name)), ALIGNMENTS[-1])
    times = documents.read(stream)
    langs = documents.read("utt2lang") if documents.has("utt2lang") else dict.fromkeys(documents.utts, "")
    said = {utt: words_of(text, langs[utt]) for utt, text in texts.items()}
    spans: dict[tuple[str, tuple[str, ...]], list[Span]] = {}
    for utt in documents.utts:
        if utt in times and utt in phones and utt in texts:
            for span in spans_of(utt, texts[utt], phones[utt], times[utt], langs[utt]):
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
    recordings = documents.read("wav.scp")
    own = documents.read("segments") if documents.has("segments") else {}
    streams: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "segments", "text", "utt2spk", "utt2dur")}
    pairs = []
    for span, holding in chosen:
        query = f"{span.utt}-{round(span.start * 1000):06d}"
        recording, begin = (own[span.utt].split()[0], float(own[span.utt].split()[1])) if own else (span.utt, 0.0)
        streams["wav.scp"][recording] = recordings[recording]
        streams["segments"][query] = f"{recording} {begin + span.start:.4f} {begin + span.end:.4f}"
        streams["text"][query] = ("" if langs[span.utt] == "zh" else " ").join(span.words)
        streams["utt2spk"][query] = speakers[span.utt]
        streams["utt2dur"][query] = f"{span.end - span.start:.6f}"
        if langs[span.utt]:
            streams.setdefault("utt2lang", {})[query] = langs[span.utt]
        pairs += [(query, utt) for utt in holding if speakers[utt] != speakers[span.utt]]
    folder = write_folder(out, streams)
    write_text(out / "relevance", "".join(f"{query} {utt}\n" for query, utt in sorted(pairs)))
    return folder


def _holds(words: list[str], wanted: tuple[str, ...]) -> bool:
    return any(tuple(words[i:i + len(wanted)]) == wanted for i in range(len(words) - len(wanted) + 1))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
