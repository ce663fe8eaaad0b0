"""Slot filling: which slots an utterance has, and what they hold, read off a line such as
`wake me at B-time seven E-time`.

As SUPERB scores Audio SNIPS (Lai et al. 2021, arXiv 2010.13105; s3prl's slot_type_f1 and slot_value_cer). The values
are compared as lists of pairs here: s3prl joins them with `:` and `;`, and breaks on values that hold either.
"""

from collections.abc import Mapping, Sequence

from speechrep.metrics.wer import Edits, check_utterances, edits

Slot = tuple[str, str]
"""The type and the value of a slot, its words with single spaces."""


def slots_of(line: str) -> list[Slot]:
    """The slots of a line in their order.

    A slot goes from `B-x` to the next `E-x` of the same type and holds at least one word; tokens of other slots within
    it are no part of its value. A `B-x` without its end, and an end without its beginning, are nothing.
    """
    found, tokens, start = [], line.split(), 0
    while start < len(tokens):
        name = tokens[start][2:] if opens(tokens[start]) else ""
        end = tokens.index(f"E-{name}", start) if name and f"E-{name}" in tokens[start:] else start
        value = [token for token in tokens[start + 1:end] if not opens(token) and not closes(token)]
        if value:
            found.append((name, " ".join(value)))
            start = end
        start += 1
    return found


def opens(token: str) -> bool:
    """Whether a token begins a slot."""
    return len(token) > 2 and token.startswith("B-")


def closes(token: str) -> bool:
    """Whether a token ends a slot."""
    return len(token) > 2 and token.startswith("E-")


def type_f1(reference: Sequence[Slot], hypothesis: Sequence[Slot]) -> float:
    """F1 of the set of slot types of one utterance; 1 where neither has a slot."""
    true, said = {name for name, _ in reference}, {name for name, _ in hypothesis}
    return 2 * len(true & said) / (len(true) + len(said)) if true or said else 1.0


def value_edits(reference: Sequence[Slot], hypothesis: Sequence[Slot]) -> Edits:
    """Character edits of one utterance's slot values, over the characters, spaces among them, of the reference's.

    Each reference value is held against that hypothesised value of the same type which is nearest to it, the empty one
    where there is none; one may serve several references, and slots that the reference lacks cost nothing, as in s3prl.
    """
    total = Edits(0, 0, 0, 0)
    for name, value in reference:
        choices = [edits(value, said) for other, said in hypothesis if other == name] or [edits(value, "")]
        best = min(choices, key=lambda count: count.errors)
        total = Edits(*(getattr(total, key) + getattr(best, key)
                        for key in ("substitutions", "deletions", "insertions", "reference")))
    return total


def slot_scores(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> dict[str, tuple[float, Edits]]:
    """Utterance -> its F1 of slot types and the edits of its slot values, for lines of words and slot tokens.

    The corpus's F1 is the mean over utterances, its value CER the sum of errors over the sum of reference characters.
    Raises `SpeechrepError` for utterances that are in one alone.
    """
    check_utterances(references, hypotheses)
    parsed = {utt: (slots_of(references[utt]), slots_of(hypotheses[utt])) for utt in sorted(references)}
    return {utt: (type_f1(*both), value_edits(*both)) for utt, both in parsed.items()}
