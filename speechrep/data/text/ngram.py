"""Interpolated Kneser-Ney n-gram models, written in the ARPA format that KenLM, SRILM and flashlight read.

Kneser & Ney 1995 in the interpolated form of Chen & Goodman 1999 (Computer Speech & Language 13, section 2.7), with one
discount an order, D = n1 / (n1 + 2 n2). With c the count of an n-gram in the highest order, and in the lower ones the
number of different words in front of it (its count where it begins a sentence, since nothing stands in front),
  p(w | h) = max(c(h w) - D, 0) / c(h .) + D N(h .) / c(h .) * p(w | h')
where N(h .) is how many different words follow h and h' is h without its first word. Below the unigrams lies the
uniform distribution over the words, the end of a sentence and the unknown word.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from speechrep.errors import SpeechrepError
from speechrep.files import write_text

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
LEAST_DISCOUNT, MOST_DISCOUNT = 0.1, 0.9
"""Bounds of D (an assumption): in a small text it would be 0, leaving nothing for the unseen, or 1."""

Gram = tuple[str, ...]


def estimate(sentences: Iterable[Sequence[str]], order: int) -> list[dict[Gram, tuple[float, float]]]:
    """The model of `sentences`, each a sequence of words.

    Returns for each order, unigrams first, n-gram -> (log10 of its interpolated probability, log10 of the weight by
    which what follows it is backed off to). `<s>` has the probability 10^-99, as is usual.

    Raises:
        SpeechrepError: an order below 1, no sentence with a word, or a word that ARPA keeps for itself.
    """
    if order < 1:
        raise SpeechrepError(f"n-grams of order {order}", "1 or more")
    raw: list[Counter[Gram]] = [Counter() for _ in range(order)]
    empty = True
    for sentence in sentences:
        reserved = {START, END, UNKNOWN} & set(sentence)
        if reserved or any(not word or word.split() != [word] for word in sentence):
            which = ", ".join(sorted(reserved)) or "empty or has spaces"
            raise SpeechrepError(f"'{' '.join(sentence)}': a word that is {which}", "plain words", "leave the line out")
        padded = (START, *sentence, END)
        empty = empty and not sentence
        for size in range(1, order + 1):
            raw[size - 1].update(padded[i:i + size] for i in range(len(padded) - size + 1))
    if empty:
        raise SpeechrepError("no text to learn a language model from", "lines of words")
    counts = [_continuations(raw[k], raw[k + 1]) if k + 1 < order else raw[k] for k in range(order)]
    del counts[0][(START,)]
    words = {gram[0] for gram in counts[0]} | {UNKNOWN}
    lower = {(): 1 / len(words)}
    probability: list[dict[Gram, float]] = []
    backoff: list[dict[Gram, float]] = []
    for k, table in enumerate(counts):
        discount = _discount(table)
        total: Counter[Gram] = Counter()
        followers: Counter[Gram] = Counter()
        for gram, count in table.items():
            total[gram[:-1]] += count
            followers[gram[:-1]] += 1
        weight = {context: discount * followers[context] / total[context] for context in total}
        grams = table if k else [(word,) for word in sorted(words)]
        # What is below a unigram is the uniform distribution, whatever the word.
        probability.append({gram: max(table[gram] - discount, 0) / total[gram[:-1]]
                            + weight[gram[:-1]] * lower[gram[1:] if k else ()] for gram in grams})
        backoff.append(weight)
        lower = probability[-1]
    model: list[dict[Gram, tuple[float, float]]] = []
    for k, table in enumerate(probability):
        above = backoff[k + 1] if k + 1 < order else {}
        model.append({gram: (math.log10(p), math.log10(above.get(gram, 1.0))) for gram, p in table.items()})
    model[0][(START,)] = (-99.0, math.log10(backoff[1][(START,)]) if order > 1 else 0.0)
    return model


def _continuations(raw: Counter[Gram], longer: Counter[Gram]) -> Counter[Gram]:
    """How many different words stand before each n-gram; its count where it begins a sentence."""
    found: Counter[Gram] = Counter(gram[1:] for gram in longer)
    for gram, count in raw.items():
        if gram[0] == START:
            found[gram] = count
    return found


def _discount(table: Counter[Gram]) -> float:
    times = Counter(table.values())
    wanted = times[1] / (times[1] + 2 * times[2]) if times[1] else 0.0
    return min(max(wanted, LEAST_DISCOUNT), MOST_DISCOUNT)


def write_arpa(path: str | Path, model: list[dict[Gram, tuple[float, float]]]) -> None:
    """Write a model as ARPA text, atomically."""
    lines = ["\\data\\", *(f"ngram {k}={len(table)}" for k, table in enumerate(model, 1)), ""]
    for k, table in enumerate(model, 1):
        lines.append(f"\\{k}-grams:")
        for gram in sorted(table):
            logp, weight = table[gram]
            lines.append(f"{logp:.7f}\t{' '.join(gram)}" + (f"\t{weight:.7f}" if k < len(model) else ""))
        lines.append("")
    write_text(path, "\n".join([*lines, "\\end\\", ""]))


def read_arpa(path: str | Path) -> list[dict[Gram, tuple[float, float]]]:
    """The n-grams of an ARPA file as `estimate` returns them. Raises `SpeechrepError` where it is none."""
    model: list[dict[Gram, tuple[float, float]]] = []
    for size, gram, logp, weight in _lines(path):
        while len(model) < size:
            model.append({})
        model[size - 1][gram] = (logp, weight)
    return model


def vocabulary(path: str | Path) -> list[str]:
    """The words of an ARPA file, sorted; nothing behind its 1-grams is read."""
    words = [gram[0] for _, gram, _, _ in takewhile(lambda line: line[0] == 1, _lines(path))]
    return sorted(word for word in words if word.lower() not in (START, END, UNKNOWN))


def _lines(path: str | Path) -> Iterator[tuple[int, Gram, float, float]]:
    """Size, words, log10 probability and back-off weight of each n-gram of an ARPA file."""
    size = 0
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                line = line.strip()
                if line.startswith("\\") and line.endswith("-grams:"):
                    size = int(line[1:-len("-grams:")])
                elif size and line and not line.startswith("\\"):
                    fields = line.split()
                    yield size, tuple(fields[1:size + 1]), float(fields[0]), float((fields[size + 1:] or ["0"])[0])
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SpeechrepError(f"{path}: not an ARPA file ({error})", "n-grams as text",
                             "make it with `speechrep ngram`") from None
    if not size:
        raise SpeechrepError(f"{path}: not an ARPA file (no n-grams in it)", "n-grams as text",
                             "make it with `speechrep ngram`")


def log10_probability(model: list[dict[Gram, tuple[float, float]]], word: str, context: Sequence[str]) -> float:
    """log10 p(word | context) with back-off; a word that the model lacks is the unknown one."""
    word, *reversed_context = (name if (name,) in model[0] else UNKNOWN for name in (word, *reversed(context)))
    context = tuple(reversed(reversed_context[:len(model) - 1]))
    found = 0.0
    while (*context, word) not in model[len(context)]:
        found += model[len(context) - 1].get(context, (0.0, 0.0))[1]
        context = context[1:]
    return found + model[len(context)][(*context, word)][0]


def perplexity(model: list[dict[Gram, tuple[float, float]]], sentences: Iterable[Sequence[str]]) -> float:
    """10 to the negative mean log10 probability of the words and ends of `sentences`."""
    total, count = 0.0, 0
    for sentence in sentences:
        padded = (START, *sentence, END)
        total += sum(log10_probability(model, padded[i], padded[:i]) for i in range(1, len(padded)))
        count += len(padded) - 1
    if not count:
        raise SpeechrepError("no sentence to take the perplexity of", "one or more")
    return 10 ** (-total / count)
