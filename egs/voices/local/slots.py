"""Colours and numbers, marked in what is said for slot filling: the stream `slots`."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from num2words import num2words

PATTERNS = Path(__file__).with_name("slots.tsv")
NUMBERS = (*range(2, 101), *range(200, 1001, 100))
"""One is left out: in most of these languages it is also the article."""

JOINED = {"es": "y", "fr": "et", "ca": "i", "it": "e", "ro": "și", "da": "og", "nl": "en"}
"""What stands between tens and ones."""

ANOTHER_WORD = {"it": "sei (?:stato|muto|attualmente|il |l')", "ca": "(?<=una )nou"}
"""Language -> a number that is another word here ("sei stato espulso", you have been ejected; "una nou", a nut)."""


def mark_slots(text: str, lang: str) -> str:
    """The words of a text with B-colour, E-colour, B-number and E-number around colours and numbers; "" where there are
    none."""
    said = text
    for slot, pattern in (("colour", colours().get(lang, "")), ("number", numbers(lang))):
        if pattern:
            said = re.sub(rf"(?<![\w'’-])(?:{pattern})(?![\w'’-])", rf" B-{slot} \g<0> E-{slot} ", said)
    return " ".join(said.split()) if said != text else ""


@cache
def colours() -> dict[str, str]:
    """Language -> pattern of its words for colours."""
    lines = [line.split("\t") for line in PATTERNS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {lang: pattern for lang, _, pattern in lines}


@cache
def numbers(lang: str) -> str:
    """The pattern of a number in words; "" where num2words does not know the language."""
    try:
        words = {word for number in NUMBERS if " " not in (word := num2words(number, lang=lang))}
    except NotImplementedError:
        return ""
    one = num2words(1, lang=lang)
    parts = {part for word in words for part in word.split("-")} - {one, JOINED.get(lang)}
    single = "|".join(sorted(parts, key=lambda part: (-len(part), part)))
    other = f"(?!{ANOTHER_WORD[lang]})" if lang in ANOTHER_WORD else ""
    joined = f"(?:{JOINED[lang]}[ -])?" if lang in JOINED else ""
    return rf"{other}(?:{single})(?:[ -]{joined}{other}(?:{single}|{one}))*"
