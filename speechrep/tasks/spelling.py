"""Recognised symbols as lines of files, and what they are worth."""

from pathlib import Path

import numpy as np

from speechrep.data.alignment import read_ali
from speechrep.data.folder import read_table
from speechrep.data.text.normalise import normalise
from speechrep.metrics.bootstrap import ratio_interval
from speechrep.metrics.score import metric
from speechrep.metrics.wer import Edits, corpus_edits, error_rate, phones
from speechrep.tasks.base import Scored


def spell(symbols: list[str] | str) -> list[str]:
    """Symbols as words of a line: a space would vanish there."""
    return ["_" if symbol == " " else symbol for symbol in symbols]


def symbols_of(line: str, lang: str, units: str, spoken: bool, stress: bool = False, timed: bool = True) -> list[str]:
    """What is said in a line of `text`, or for phones of `ali`, which is `timed`, or of `phones`: "words", "chars" with
    spaces as `_`, or "phones" without silence and, where not `stress`, without stress and tone. spoken: the words as they
    are said in the language `lang`."""
    if units == "phones":
        return phones(" ".join(read_ali(line)[0]) if timed else line, tones=stress)
    text = normalise(line, lang) if spoken else line
    return text.split() if units == "words" else spell(text)


def spelt_characters(line: str) -> list[str]:
    """The characters of a line of spelt ones, spaces among them as `_`; those at its ends, which nobody sees, are none."""
    return line.strip("_ ").split()


def spelt_words(line: str) -> list[str]:
    """The words of a line of spelt characters."""
    return line.replace(" ", "").replace("_", " ").split()


def scored(folder: Path) -> Scored:
    """The errors of `hyp` against `ref`, lines of symbols in `folder`: of phones (PER) where its file `units` says so,
    else of characters, spaces within the line among them (CER), and of words (WER).

    An empty reference counts with its insertions. Raises `SpeechrepError` for a missing or doubled utterance, and where all
    references are empty.
    """
    units = (folder / "units").read_text(encoding="utf-8").strip()
    refs, hyps = read_table(folder / "ref"), read_table(folder / "hyp")
    if units == "phones":
        counts = {"per": corpus_edits(refs, hyps, phones)}
    else:
        counts = {"cer": corpus_edits(refs, hyps, spelt_characters), "wer": corpus_edits(refs, hyps, spelt_words)}
    first = next(iter(counts.values()))
    per_utt = {utt: {"errors": first[utt].errors, "reference": first[utt].reference} for utt in sorted(first)}
    for utt, count in counts.get("wer", {}).items():
        per_utt[utt] |= {"word_errors": count.errors, "words": count.reference}
    return Scored({name: rate(found) for name, found in counts.items()}, per_utt)


def rate(counts: dict[str, Edits]) -> dict:
    """The entry of a score for errors over reference symbols, in per cent. Raises `SpeechrepError` as `error_rate`."""
    error_rate(counts)
    order = sorted(counts)
    references = np.array([counts[utt].reference for utt in order])
    value = ratio_interval(np.array([counts[utt].errors for utt in order]), references)
    return metric(*(100 * v for v in value), n=int(references.sum()), unit="%", better="lower")
