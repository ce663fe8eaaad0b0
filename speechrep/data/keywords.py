"""Keywords for spotting, cut from the recordings of a corpus whose phone times are known: data folders with the stream
`keyword`, laid out as Speech Commands' are prepared.

Keywords are the words that a corpus says often enough in all parts, those of train most often first; which they are
depends on counts alone. `_unknown_` are other words of the same languages, as many as there are of the most frequent
keyword, taken by a hash.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechrep.data.folder import DataFolder
from speechrep.data.words import Token, cut, tokens_of
from speechrep.errors import SpeechrepError

MIN_PHONES = 4
"""Shorter words are mostly articles and prepositions, and are nobody's keyword."""
UNKNOWN = "_unknown_"


def keyword_folders(parts: Sequence[DataFolder], outs: Sequence[Path], count: int = 40,
                    least: Sequence[int] = (10, 2, 2)) -> list[DataFolder]:
    """Write a data folder of single words for each of `parts` (train, dev, test).

    parts: folders with `text`, `phones`, `utt2spk`, `ali` or `ali.true`, and `utt2lang` where there is more than one
    language. count: so many keywords at the most. least: how often each part has to say a keyword, once or more.
    Returns the folders written; a keyword of a corpus of several languages is LANGUAGE:WORD. Raises `SpeechrepError` where
    there are fewer than two.
    """
    if min(least) < 1:
        raise SpeechrepError(f"keywords said {', '.join(map(str, least))} times", "once or more in each part")
    tokens = [tokens_of(part, MIN_PHONES) for part in parts]
    said = [Counter((token.lang, token.word) for token in found) for found in tokens]
    often = [key for key in said[0] if all(counts[key] >= times for counts, times in zip(said, least))]
    keywords = sorted(often, key=lambda key: (-said[0][key], key))[:count]
    if len(keywords) < 2:
        raise SpeechrepError(
            f"{parts[0].path}: {len(keywords)} words of {MIN_PHONES} phones are said "
            f"{', '.join(map(str, least))} times in {', '.join(part.path.name for part in parts)}", "two or more",
            "ask for fewer times with --least, or take a larger corpus")
    several = len({lang for counts in said for lang, _ in counts}) > 1
    names = {(lang, word): f"{lang}:{word}" if several else word for lang, word in keywords}
    return [_write(part, out, found, names) for part, out, found in zip(parts, outs, tokens)]


def _write(part: DataFolder, out: Path, tokens: list[Token], names: Mapping[tuple[str, str], str]) -> DataFolder:
    langs = {lang for lang, _ in names}
    taken = [(token, names[token.lang, token.word]) for token in tokens if (token.lang, token.word) in names]
    most = max(Counter(name for _, name in taken).values())
    others = [token for token in tokens if token.lang in langs and (token.lang, token.word) not in names]
    taken += [(token, UNKNOWN) for token in sorted(others, key=_digest)[:most]]
    return cut(part, out, {token.key: token.piece for token, _ in taken},
               {"keyword": {token.key: name for token, name in taken}})


def _digest(token: Token) -> bytes:
    return hashlib.sha256(token.key.encode()).digest()
