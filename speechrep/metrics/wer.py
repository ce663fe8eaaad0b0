"""Errors of recognition: (substitutions + deletions + insertions) / reference symbols, summed over the corpus.

The symbols are words (WER), characters (CER) or phones (PER): `words`, `characters` and `phones` split a line. A recogniser
that is itself scored by its characters has to write spaces, which then count (`speechrep.tasks.spelling`).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from speechrep.errors import SpeechrepError


@dataclass(frozen=True)
class Edits:
    """Edit counts of one utterance against `reference` symbols."""

    substitutions: int
    deletions: int
    insertions: int
    reference: int

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together: the Levenshtein distance."""
        return self.substitutions + self.deletions + self.insertions


def words(line: str) -> list[str]:
    """The words of a line."""
    return line.split()


def characters(line: str) -> list[str]:
    """The characters of a line without its spaces: where the recogniser that judges synthesised speech splits words says
    nothing of that speech, and some languages write none."""
    return list("".join(line.split()))


def phones(line: str, tones: bool = True) -> list[str]:
    """The phones of a line without bounds `|` and silences; without `tones`, also without stress and tone digits."""
    found = [phone for phone in line.split() if phone not in ("|", "SIL")]
    return found if tones else [phone.rstrip("0123456789") or phone for phone in found]


def edits(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Edits:
    """A cheapest alignment of two sequences, all three edits at cost 1 (Levenshtein 1966).

    Where several are equally cheap, one is counted that goes diagonally as early from the end as it can.
    """
    ids: dict[Hashable, int] = {}
    ref = np.array([ids.setdefault(symbol, len(ids)) for symbol in reference], dtype=np.int64)
    hyp = np.array([ids.setdefault(symbol, len(ids)) for symbol in hypothesis], dtype=np.int64)
    columns = np.arange(len(hyp) + 1)
    table = np.empty((len(ref) + 1, len(hyp) + 1), dtype=np.int64)
    table[0] = columns
    for i, symbol in enumerate(ref, 1):
        row = table[i - 1] + 1
        row[1:] = np.minimum(row[1:], table[i - 1, :-1] + (hyp != symbol))
        # Insertions run along the row: cost[j] = min over k <= j of row[k] + (j - k).
        table[i] = np.minimum.accumulate(row - columns) + columns
    i, j = len(ref), len(hyp)
    substitutions = deletions = insertions = 0
    while i or j:
        if i and j and table[i, j] == table[i - 1, j - 1] + (ref[i - 1] != hyp[j - 1]):
            substitutions += int(ref[i - 1] != hyp[j - 1])
            i, j = i - 1, j - 1
        elif i and table[i, j] == table[i - 1, j] + 1:
            deletions, i = deletions + 1, i - 1
        else:
            insertions, j = insertions + 1, j - 1
    return Edits(substitutions, deletions, insertions, len(ref))


def check_utterances(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> None:
    """Raises `SpeechrepError` if a hypothesis is missing or belongs to no reference: leaving hard utterances out must
    not make a system better."""
    missing, extra = sorted(set(references) - set(hypotheses)), sorted(set(hypotheses) - set(references))
    if missing:
        raise SpeechrepError(f"{len(missing)} of {len(references)} utterances without a hypothesis, such as "
                             f"'{missing[0]}'", "one an utterance, be it an empty one", "decode them too")
    if extra:
        raise SpeechrepError(f"{len(extra)} hypotheses without a reference, such as '{extra[0]}'",
                             "the utterances of the reference, each once", "score against the part that was decoded")


def corpus_edits(references: Mapping[str, str], hypotheses: Mapping[str, str],
                 symbols: Callable[[str], list[str]] = words) -> dict[str, Edits]:
    """Utterance -> its edits, for exactly the utterances of `references`.

    Raises `SpeechrepError` as `check_utterances` does.
    """
    check_utterances(references, hypotheses)
    return {utt: edits(symbols(references[utt]), symbols(hypotheses[utt])) for utt in sorted(references)}


def error_rate(counts: Mapping[str, Edits]) -> float:
    """Sum of errors over sum of reference symbols, a share and not per cent. Raises `SpeechrepError` if there are no
    reference symbols."""
    total = sum(count.reference for count in counts.values())
    if not total:
        raise SpeechrepError("no symbol in any reference", "texts", "look at the stream 'text'")
    return sum(count.errors for count in counts.values()) / total
