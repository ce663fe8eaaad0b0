"""Mandarin -> initials and finals with tone, by pypinyin: 中 -> `zh_zh zh_ong1`."""

import functools
import re

from speechrep.errors import SpeechrepError

HAN = re.compile(r"[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_RUN = re.compile(rf"{HAN.pattern}+|[^\W\d_]+")


@functools.cache
def _load():
    try:
        import pypinyin
    except ImportError:
        raise SpeechrepError("the package pypinyin is not installed", "pypinyin for Mandarin phones",
                             "pip install pypinyin   (or take another phonemiser: --g2p zh=espeak)") from None
    return pypinyin


def mandarin_phones(word: str) -> list[str]:
    """The phones of a run of Han characters: `zh_` + initial, `zh_` + final + tone; a syllable may lack the initial.

    Initials and finals are strict pinyin (no y, no w: 五 -> `zh_u3`; ü is written v: 女 -> `zh_n zh_v3`). The neutral
    tone is 5. Third-tone sandhi and the tones of 一 and 不 are pypinyin's, decided within the run.

    Raises:
        SpeechrepError: pypinyin is missing, or does not know a character.
    """
    pypinyin = _load()

    def unknown(chars: str):
        raise SpeechrepError(f"pypinyin does not know '{chars}' in '{word}'", "Han characters in use",
                             "mend the transcript, or give the word's phones in a --lexicon")

    def read(style):
        return pypinyin.lazy_pinyin(word, style=style, errors=unknown, strict=True, neutral_tone_with_five=True,
                                    tone_sandhi=True)

    phones = []
    for initial, final in zip(read(pypinyin.Style.INITIALS), read(pypinyin.Style.FINALS_TONE3), strict=True):
        if initial:
            phones.append("zh_" + initial)
        if final:
            phones.append("zh_" + final)
    return phones


def runs(word: str) -> list[tuple[str, bool]]:
    """`word` cut into runs of Han characters and runs of other letters: `[(run, is it Han), ...]`."""
    return [(run, bool(HAN.match(run))) for run in _RUN.findall(word)]
