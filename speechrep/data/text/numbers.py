"""Numbers in words. num2words for the languages that it knows, Mandarin here."""

import re

from speechrep.errors import SpeechrepError

_POINT = {"en": "point", "es": "punto", "fr": "point", "it": "punto", "de": "Punkt", "pt": "ponto", "ru": "точка"}
_COMMA = {"es": "coma", "fr": "virgule", "it": "virgola", "de": "Komma", "pt": "vírgula"}
_GROUP = {"en": ",", "zh": ",", "es": ".", "it": ".", "de": ".", "pt": "."}
_SPACES = "\u00a0\u202f\u2009"
_RUSSIAN_PARTS = {1: ("десятая", "десятых"), 2: ("сотая", "сотых"), 3: ("тысячная", "тысячных")}
_HAN_DIGITS = "零一二三四五六七八九"
_LARGEST = 10 ** 15

NUMBER = re.compile(rf"[0-9]+(?:[.,{_SPACES}][0-9]+)*")
"""What `spell_number` reads: digits with group separators and decimals as people write them."""


def spell_number(figures: str, lang: str, digits: bool = False) -> str:
    """The words of a written number, lower case with whatever hyphens the language has.

    `1,234.5` and `1.234,5` are read by the language's custom. A comma that is neither a group separator nor the
    language's decimal sign divides a list. Leading zeros, and sixteen digits or more, are read digit by digit.

    Args:
        figures: a match of `NUMBER`.
        lang: ISO 639-1 code.
        digits: read every digit by itself (extensions, passwords).

    Raises:
        SpeechrepError: numbers of this language are not supported.
    """
    figures = re.sub(rf"[{_SPACES}]", "", figures)
    written, group = figures, re.escape(_GROUP.get(lang, ""))
    if group and re.fullmatch(rf"\d{{1,3}}(?:{group}\d{{3}})+(?:[.,]\d+)?", figures) and not figures.startswith("0"):
        figures = re.sub(rf"{group}(?=\d{{3}}(?!\d))", "", figures)
    parts = re.split(r"([.,])", figures)
    if len(parts) == 1:
        return _digits(figures, lang) if digits else spell_integer(figures, lang, year=figures == written)
    if len(parts) == 3 and lang == "ru":
        return _russian_fraction(parts[0], parts[2])
    words = [spell_integer(parts[0], lang)]
    for sign, part in zip(parts[1::2], parts[2::2]):
        if lang == "zh":
            words += [_sign(sign, lang), _digits(part, lang)] if sign == "." else [spell_integer(part, lang)]
            continue
        by_digit = sign == "." and lang == "en" or part.startswith("0") or len(part) > 3
        words += [_sign(sign, lang), _digits(part, lang) if by_digit else spell_integer(part, lang)]
    return ("" if lang == "zh" else " ").join(filter(None, words))


def spell_integer(figures: str, lang: str, year: bool = False) -> str:
    """The words of a run of digits: a cardinal, or with `year` the English way of saying 1100-1999 and 2010-2099."""
    if len(figures) > 1 and figures.startswith("0") or int(figures) >= _LARGEST:
        return _digits(figures, lang)
    number = int(figures)
    if lang == "zh":
        return mandarin_number(number)
    if year and lang == "en" and (1100 <= number <= 1999 or 2010 <= number <= 2099):
        return _words(number, lang, to="year")
    return _words(number, lang)


def spell_ordinal(figures: str, lang: str, feminine: bool = False) -> str:
    """The ordinal of a run of digits, masculine unless told otherwise where the language has genders."""
    if lang == "ru":
        return _words(int(figures), lang, to="ordinal", gender="f" if feminine else "m")
    word = _words(int(figures), lang, to="ordinal")
    if feminine and lang in ("es", "it") and word.endswith("o"):
        return re.sub(r"o\b", "a", word)
    return "première" if feminine and lang == "fr" and int(figures) == 1 else word


def mandarin_number(number: int) -> str:
    """The Han reading of an integer from 0 to 10^16 - 1: `10` -> 十, `105` -> 一百零五, `12000` -> 一万二千."""
    if number < 0 or number >= 10 ** 16:
        raise ValueError(f"{number} is not within 0 and 10^16 - 1")
    if number == 0:
        return _HAN_DIGITS[0]
    groups = []
    while number:
        number, group = divmod(number, 10000)
        groups.append(group)
    units = ("", "万", "亿", "万亿")
    words = ""
    for index in range(len(groups) - 1, -1, -1):
        group = groups[index]
        if words and group < 1000 and (group or index == 0) and not words.endswith("零"):
            words += "零" if any(groups[: index + 1]) else ""
        if group:
            words += _mandarin_group(group) + units[index]
    words = words.rstrip("零")
    return words[1:] if words.startswith("一十") else words


def _mandarin_group(group: int) -> str:
    words = ""
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = group // unit % 10
        if digit:
            words += _HAN_DIGITS[digit] + name
        elif words and group % unit and not words.endswith("零"):
            words += "零"
    return words


def _digits(figures: str, lang: str) -> str:
    if lang == "zh":
        return "".join(_HAN_DIGITS[int(digit)] for digit in figures)
    return " ".join(_words(int(digit), lang) for digit in figures if digit.isdigit())


def _sign(sign: str, lang: str) -> str:
    if lang == "zh":
        return "点" if sign == "." else ""
    if sign == ",":
        return _COMMA.get(lang, "")
    if lang not in _POINT:
        raise SpeechrepError(f"a number with '.' in the language '{lang}'", f"one of {', '.join(_POINT)}",
                             "write the number in words in the corpus's `text`")
    return _POINT[lang]


def _russian_fraction(whole: str, part: str) -> str:
    if len(part) not in _RUSSIAN_PARTS:
        return f"{spell_integer(whole, 'ru')} запятая {_digits(part, 'ru')}"
    one, many = _RUSSIAN_PARTS[len(part)]
    is_one = [int(figures) % 10 == 1 and int(figures) % 100 != 11 for figures in (whole, part)]
    return " ".join((_words(int(whole), "ru", gender="f"), "целая" if is_one[0] else "целых",
                     _words(int(part), "ru", gender="f"), one if is_one[1] else many))


def _words(number: int, lang: str, **form: str) -> str:
    import num2words
    try:
        return num2words.num2words(number, lang=lang, **form)
    except NotImplementedError:
        raise SpeechrepError(f"the number {number} in the language '{lang}'", "a language that num2words can spell",
                             "write the number in words in the corpus's `text`") from None
