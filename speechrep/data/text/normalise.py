"""Written text -> the words that one says: lower case, single spaces, numbers and symbols spelt out.

Letters with accents and Cyrillic stay (NFC); apostrophes stay inside words; hyphens divide words. What stands in
brackets is a remark and not spoken. What cannot be read is an error that names it, never dropped in silence.
"""

import re
import unicodedata

from speechrep.data.text.numbers import NUMBER, spell_number, spell_ordinal
from speechrep.data.text.tables import (ABBREVIATIONS, CURRENCIES, DIGIT_CUES, DOTS, INITIALISMS, LETTER_NAMES,
                                        LOST_LETTERS, ORDINALS, PERCENT, SCRIPTS, SYMBOLS,
                                        TOP_LEVEL_DOMAINS, UPPERCASE_INITIALISMS, Currency)
from speechrep.errors import SpeechrepError

BRACKETED = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|<[^<>]*>|（[^（）]*）")
"""Remarks: not spoken. A text that is nothing else normalises to ""."""

_PUNCTUATION = frozenset(".,;:!?…¿¡\"«»„“”‚‛‹›()[]{}-‐‑‒–—―/\\_|·•、。，！？；：「」『』《》〈〉【】～")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "＇": "'", "`": "'", "´": "'"})
_VOWELS = frozenset("AEIOUYАЕЁИОУЫЭЮЯ")
_FIGURES = NUMBER.pattern
_WORD = r"[^\W\d_]"


def normalise(text: str, lang: str) -> str:
    """The spoken words of `text`, lower case, separated by single spaces; "" if there is nothing to say.

    Normalising twice changes nothing. Mandarin keeps the characters between two punctuation marks as one word.

    Args:
        text: one utterance as written. All capitals (as in LibriSpeech) is read as plain words.
        lang: ISO 639-1 code. Numbers, symbols and abbreviations are known for en, es, fr, it, ru and zh; other
            languages have numbers where num2words has them, and no symbols.

    Raises:
        SpeechrepError: characters that this language does not say (other scripts, unknown symbols, U+FFFD), or a `?`
            in the place of a lost letter.
    """
    source = text
    text = unicodedata.normalize("NFKC" if lang == "zh" else "NFC", text).translate(_QUOTES).replace("\ufeff", "")
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    text = _without_remarks(text)
    lost = re.search(rf"{_WORD}\?{_WORD}", text)
    if not lost and lang in LOST_LETTERS and text != text.lower():
        lost = re.search(LOST_LETTERS[lang], text)
    if lost:
        raise SpeechrepError(f"'{lost.group()}' in {_quote(source)}: a letter was lost", "text in its own encoding",
                             "mend the transcript, or leave the utterance out")
    mixed = any(char.islower() for char in text) or len(text.split()) == 1
    for pattern, words in ABBREVIATIONS.get(lang, ()):
        text = re.sub(pattern, f" {words} ", text, flags=re.IGNORECASE)
    text = _addresses(text, lang)
    text = re.sub(rf"(?<![\w'])(?:{_WORD}\.){{2,}}",
                  lambda match: f" {_letters(match.group().replace('.', ''), lang)} ", text)
    text = _initialisms(text, lang, mixed)
    text = _amounts(text, lang)
    text = _ordinals(text, lang)
    text = _years(text, lang)
    text = re.sub(rf"(?<![\w.,])[-−](?=[0-9])", f" {SYMBOLS.get(lang, {}).get('−', '−')} ", text)
    text = re.sub(rf"(?<=[0-9])(?={_WORD})|(?<={_WORD})(?=[0-9])", "" if lang == "zh" else " ", text)
    text = NUMBER.sub(lambda match: _number(match, lang), text)
    for symbol, words in SYMBOLS.get(lang, {}).items():
        text = text.replace(symbol, f" {words} ")
    text = "".join(" " if char in _PUNCTUATION else char for char in text).lower()
    words = [word for word in (word.strip("'") for word in text.split()) if word]
    words = _single_letters(words, lang)
    _check(words, lang, source)
    return unicodedata.normalize("NFC", " ".join(words))


def remarks(text: str) -> list[str]:
    """The bracketed parts of a text, which `normalise` leaves out: `at [@]` -> `["[@]"]`."""
    return BRACKETED.findall(text)


def _without_remarks(text: str) -> str:
    previous = None
    while previous != text:
        previous, text = text, BRACKETED.sub(" ", text)
    return text


def _addresses(text: str, lang: str) -> str:
    """Host names and e-mail addresses, their dots read out; only with a known ending, since full stops lose spaces."""
    dot = DOTS.get(lang)
    if not dot:
        return text
    pattern = rf"(?<![\w.])(?:[\w.-]+@)?[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:{TOP_LEVEL_DOMAINS})(?!\w)"
    return re.sub(pattern, lambda match: match.group().replace(".", f" {dot} "), text, flags=re.IGNORECASE)


def _initialisms(text: str, lang: str, mixed: bool) -> str:
    """Words that are said letter by letter: known ones, and in a text of mixed case capitals without a vowel."""

    def spell(match: re.Match) -> str:
        word = match.group()
        capitals = mixed and word.isupper()
        unsayable = 2 <= len(word) <= 5 and not _VOWELS & set(unicodedata.normalize("NFD", word.upper()))
        if word.lower() in INITIALISMS or capitals and (unsayable or word in UPPERCASE_INITIALISMS):
            return _letters(word, lang)
        return word

    if lang == "zh":
        return text
    return re.sub(rf"(?<![^\W\d_])(?<!')(?:{_WORD}){{2,}}(?!'|{_WORD})", spell, text)


def _letters(word: str, lang: str) -> str:
    names = LETTER_NAMES.get(lang, {})
    return " ".join(names.get(char, char) for char in word.lower())


def _single_letters(words: list[str], lang: str) -> list[str]:
    """Names for letters that stand alone, where the language's reader would take them for words or switch languages.

    A Latin letter always; a Cyrillic one within a run of two or more, since в, и, к, о, с, у, я are words also.
    """
    names = LETTER_NAMES.get(lang, {})
    alone = [len(word) == 1 and word.isalpha() for word in words]
    named: list[str] = []
    for index, word in enumerate(words):
        in_run = alone[index] and (index > 0 and alone[index - 1] or index + 1 < len(words) and alone[index + 1])
        if alone[index] and word in names and (word.isascii() or in_run and not _is_plain(words, index)):
            named += names[word].split()
        else:
            named.append(word)
    return named


def _is_plain(words: list[str], index: int) -> bool:
    """Whether a run of single Cyrillic letters is only little words, as in `и в` or `я с`."""
    start = end = index
    while start and len(words[start - 1]) == 1:
        start -= 1
    while end + 1 < len(words) and len(words[end + 1]) == 1:
        end += 1
    return all(word in "аивксоуя" for word in words[start:end + 1]) and end - start < 2


def _amounts(text: str, lang: str) -> str:
    """Sums of money and percentages."""
    currencies = CURRENCIES.get(lang, {})
    if currencies:
        signs = "".join(currencies)
        text = re.sub(rf"([{signs}])\s?({_FIGURES}) (hundred|thousand|million|billion|trillion)\b",
                      lambda match: f" {match[2]} {match[3]} {currencies[match[1]].many} ", text)
        text = re.sub(rf"([{signs}])\s?({_FIGURES})|({_FIGURES})\s?([{signs}])",
                      lambda match: _money(match[2] or match[3], currencies[match[1] or match[4]], lang), text)
        text = re.sub(rf"[{signs}]", lambda match: f" {currencies[match.group()].one} ", text)
    if lang == "zh":
        text = re.sub(rf"({_FIGURES})\s?%", r"百分之\1", text)
        return text
    if lang in PERCENT:
        noun = PERCENT[lang]
        text = re.sub(rf"({_FIGURES})\s?%", lambda match: f"{match[1]} {_counted(match[1], noun, lang)} ", text)
        text = text.replace("%", f" {noun.one} ")
    return text


def _money(figures: str, currency: Currency, lang: str) -> str:
    if lang == "zh":
        return figures + currency.one
    cents = re.fullmatch(r"(.*[0-9])[.,]([0-9]{2})", figures) if currency.cent else None
    if lang in ("es", "it") and figures == "1":
        return f" un {currency.one} "
    if not cents:
        return f" {figures} {_counted(figures, currency, lang)} "
    unit = f"{cents[1]} {_counted(cents[1], currency, lang)}"
    if cents[2] == "00":
        return f" {unit} "
    cent = currency.cent if cents[2] == "01" else currency.cents
    return f" {unit} {SYMBOLS[lang]['&']} {int(cents[2])} {cent} "


def _counted(figures: str, noun: Currency, lang: str) -> str:
    """The form of a noun after a number: one, few (Russian 2-4), many."""
    if not figures.isdigit():
        return noun.few if lang == "ru" else noun.many
    number = int(figures)
    if lang == "ru":
        if number % 10 == 1 and number % 100 != 11:
            return noun.one
        return noun.few if 2 <= number % 10 <= 4 and not 12 <= number % 100 <= 14 else noun.many
    return noun.one if number == 1 or lang == "fr" and number == 0 else noun.many


def _ordinals(text: str, lang: str) -> str:
    for pattern, feminine in ORDINALS.get(lang, ()):
        text = re.sub(rf"(?<![\w.,])([0-9]{{1,6}}){pattern}(?!\w)",
                      lambda match: f" {spell_ordinal(match[1], lang, feminine)} ", text)
    return text


def _years(text: str, lang: str) -> str:
    """English decades (`1990s`) and Mandarin years, which are read digit by digit."""
    if lang == "en":
        return re.sub(r"(?<![\w.,])((?:1[1-9]|20)[0-9]0)'?s(?!\w)",
                      lambda match: re.sub(r"y$", "ie", spell_number(match[1], "en")) + "s", text)
    if lang == "zh":
        return re.sub(r"(?<![0-9])[0-9]{4}(?=年)", lambda match: spell_number(match.group(), "zh", digits=True), text)
    return text


def _number(match: re.Match, lang: str) -> str:
    """Long numbers after words like `extension` or `password` are read digit by digit."""
    figures = match.group()
    cue = DIGIT_CUES.get(lang)
    digits = bool(cue and len(figures) >= 4 and figures.isdigit()
                  and re.search(rf"(?<!\w)(?:{cue})\W*$", match.string[: match.start()], re.IGNORECASE))
    words = spell_number(figures, lang, digits=digits)
    before, after = match.string[: match.start()], match.string[match.end():]
    glue_left = "" if lang == "zh" or before.endswith("'") else " "
    return glue_left + words + ("" if lang == "zh" and after[:1] != "" else " ")


def _check(words: list[str], lang: str, source: str) -> None:
    scripts = SCRIPTS.get(lang, ("",))
    wrong: dict[str, None] = {}
    for char in "".join(words):
        if char == "'":
            continue
        name = unicodedata.name(char, "")
        mark = unicodedata.category(char) == "Mn" and name.startswith("COMBINING")
        if not (char.isalpha() and name.startswith(scripts) or mark):
            wrong[char] = None
    if wrong:
        shown = ", ".join(f"'{char}' (U+{ord(char):04X} {unicodedata.name(char, 'unnamed')})" for char in wrong)
        raise SpeechrepError(f"{_quote(source)}: not readable in the language '{lang}': {shown}",
                             f"letters of the language ({', '.join(filter(None, scripts)) or 'any'}), digits, "
                             f"punctuation and {' '.join(SYMBOLS.get(lang, {})) or 'no symbols'}",
                             "mend the transcript, or check utt2lang")


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
