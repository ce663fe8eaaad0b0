"""The user's own pronunciations: Kaldi's `lexicon.txt`."""

import re
from pathlib import Path

from speechrep.errors import SpeechrepError

_LANGUAGE = re.compile(r"([a-z]{2,3}):(?=\S)")


def read_lexicon(path: str | Path) -> dict[tuple[str, str], list[str]]:
    """Pronunciations by (language, word); language "" means every language.

    A line is `word phone phone ...`, divided by spaces or tabs. `it:read r ɛ1 d` holds for Italian only and goes before
    a line for every language. Of several pronunciations the first counts. Words are looked up as `normalise` leaves
    them (lower case), so they are lowered here. Empty lines and lines that begin with `#` followed by a space are
    passed over, and so are Kaldi's `<...>` and `!SIL` entries.

    Raises:
        SpeechrepError: no such file, not UTF-8, or a line without phones or with a phone that a data folder reserves.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpeechrepError(f"{path}: no such lexicon", "lines `word phone phone ...`") from None
    except UnicodeDecodeError as error:
        raise SpeechrepError(f"{path}: not UTF-8 at byte {error.start}", "a lexicon in UTF-8",
                             f"convert it: iconv -f LATIN1 -t UTF-8 {path}") from None
    lexicon: dict[tuple[str, str], list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        word, *phones = line.split() or [""]
        if not word or word == "#" or word.startswith(("<", "!")):
            continue
        if not phones:
            raise SpeechrepError(f"{path}:{number}: '{word}' has no phones", "word phone phone ...")
        reserved = [phone for phone in phones if "|" in phone or phone == "SIL"]
        if reserved:
            raise SpeechrepError(f"{path}:{number}: '{reserved[0]}' among the phones of '{word}'",
                                 "phones other than SIL, without '|'", "data folders keep these for silence and words")
        match = _LANGUAGE.match(word)
        key = (match[1], word[match.end():].lower()) if match else ("", word.lower())
        lexicon.setdefault(key, phones)
    return lexicon
