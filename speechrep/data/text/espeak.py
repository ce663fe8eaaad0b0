"""eSpeak NG through ctypes: one place that finds and loads the library, text to IPA, and IPA to phones.

The library comes from the wheel `espeakng-loader` (GPL, an extra) or else from the system (`libespeak-ng1`). Where the
phones of a word begin and end is asked of the engine itself (it writes a separator between its phonemes), so diphthongs
and affricates stay the single symbols that its synthesis reports in phoneme events: `aɪ`, `tʃ`.
"""

import ctypes
import ctypes.util
import functools
import re
import unicodedata
from pathlib import Path

from speechrep.errors import SpeechrepError

VOICES = {"en": "en-us", "zh": "cmn", "no": "nb"}
"""Language -> eSpeak voice, where the ISO 639-1 code is not itself the voice's name."""

_SYNCHRONOUS = 2
_OPTIONS = 0x0001 | 0x0002 | 0x8000  # phoneme events, with IPA names; do not exit the process on an error
_UTF8 = 1
_IPA_SEPARATED = 0x02 | ord("_") << 8
_VOWELS = frozenset("aeiouyæøœɐɑɒɔəɘɚɛɜɝɞɤɨɪɯɵɶʉʊʌʏᵻ")
_STRESS = {"ˈ": "1", "ˌ": "2"}
_MARKER = re.compile(r"\([a-z]{2,3}(?:-[a-z0-9-]+)?\)")
_TIES = "\u0361\u035c"
_SYLLABIC = "\u0329"
# The engine has no IPA for these, and writes its own mnemonics.
_MANDARIN = (("ts.h", "ʈʂʰ"), ("ts.", "ʈʂ"), ("s.", "ʂ"), ("tɕh", "tɕʰ"), ("tsh", "tsʰ"), ("ɜ", "3"))


class _Voice(ctypes.Structure):
    """The beginning of the library's espeak_VOICE."""

    _fields_ = [("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p)]


_identifiers: dict[str, bytes] = {}


@functools.cache
def load_espeak() -> tuple[ctypes.CDLL, str]:
    """The library, initialised for synchronous use with phoneme events in IPA, and the path of its data.

    Loaded once a process. Output is 16-bit PCM at 22,050 Hz. A caller that synthesises sets its own callback; calling
    `espeak_Initialize` again is harmless.

    Raises:
        SpeechrepError: neither the wheel nor a system library is there.
    """
    library, data = None, None
    try:
        import espeakng_loader
        library, data = ctypes.CDLL(espeakng_loader.get_library_path()), espeakng_loader.get_data_path()
    except (ImportError, OSError, RuntimeError):
        name = ctypes.util.find_library("espeak-ng")
        if name:
            library = ctypes.CDLL(name)
    if library is None:
        raise SpeechrepError("eSpeak NG is not installed", "the wheel espeakng-loader or the system's libespeak-ng",
                             "pip install espeakng-loader   (or: apt-get install libespeak-ng1)")
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int, ctypes.c_int]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
    library.espeak_Info.argtypes = [ctypes.POINTER(ctypes.c_char_p)]
    library.espeak_Info.restype = ctypes.c_char_p
    if library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode() if data else None, _OPTIONS) < 0:
        raise SpeechrepError(f"eSpeak NG did not start with the data folder {data}", "a readable espeak-ng-data",
                             "pip install --force-reinstall espeakng-loader")
    path = ctypes.c_char_p()
    library.espeak_Info(ctypes.byref(path))
    return library, path.value.decode()


def set_voice(lang: str) -> str:
    """Select the voice for a language (ISO 639-1, or an eSpeak voice name such as `en-gb`) and return its name.

    Raises:
        SpeechrepError: the engine has no such voice.
    """
    library, _ = load_espeak()
    voice = VOICES.get(lang, lang)
    # Selecting a voice reads its dictionary again, megabytes for Russian: not if it is the current one.
    if voice in _identifiers and library.espeak_GetCurrentVoice().contents.identifier == _identifiers[voice]:
        return voice
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise SpeechrepError(f"eSpeak NG has no voice for the language '{lang}'", "an ISO 639-1 code such as es, fr",
                             "`espeak-ng --voices` lists them; give those words in a --lexicon otherwise")
    _identifiers[voice] = library.espeak_GetCurrentVoice().contents.identifier
    return voice


@functools.cache
def espeak_languages() -> tuple[str, ...]:
    """ISO 639 codes of the languages that the engine speaks, sorted."""
    _, data = load_espeak()
    names = {path.name.partition("-")[0] for path in Path(data, "lang").rglob("*") if path.is_file()}
    return tuple(sorted(name for name in names | set(VOICES) if re.fullmatch("[a-z]{2,3}", name)))


def espeak_ipa(text: str, lang: str) -> str:
    """`text` as the engine's IPA: words separated by single spaces, the phones of a word by `_`.

    Stress marks stand before the vowel that carries them, language switches as `(en)`. The same text gives the same
    IPA, whatever was asked before. The engine joins some words (`I am`), so words in and out may differ in number.
    """
    library, _ = load_espeak()
    set_voice(lang)
    buffer = ctypes.create_string_buffer(text.encode("utf-8"))
    pointer = ctypes.c_void_p(ctypes.addressof(buffer))
    clauses = []
    while pointer.value:
        clauses.append(library.espeak_TextToPhonemes(ctypes.byref(pointer), _UTF8, _IPA_SEPARATED).decode("utf-8"))
    words = (re.sub("_+", "_", word).strip("_") for word in " ".join(clauses).split())
    return " ".join(word for word in words if word)


def split_ipa(ipa: str, separator: str | None = "_") -> list[str]:
    """The phones of a piece of IPA: `ˈf_aɪ_n` or the name of a phoneme event -> `["f", "aɪ1", "n"]`.

    Stress becomes a trailing digit on the vowel (or syllabic consonant) that follows the mark: 1 primary, 2 secondary,
    none otherwise. Length marks and diacritics stay with their letter; tie bars are taken out (`t͡ʃ` -> `tʃ`); language
    switches such as `(en)` are dropped. A tone digit that the engine wrote is kept and outranks stress.

    Args:
        ipa: words may be separated by spaces; the result does not tell them apart.
        separator: stands between phones. None: there is none, and each letter that no tie bar joins is a phone.
    """
    phones: list[str] = []
    for word in _MARKER.sub(" ", unicodedata.normalize("NFD", ipa)).split():
        stress = ""
        for chunk in word.split(separator) if separator else _letters(word):
            for mark, digit in _STRESS.items():
                if mark in chunk:
                    stress, chunk = digit, chunk.replace(mark, "")
            letters = "".join(char for char in chunk if char not in _TIES and not char.isdigit()
                              and unicodedata.category(char)[0] in "LM")
            if not letters:
                continue
            tone = "".join(char for char in chunk if char.isdigit())
            vowel = any(char in _VOWELS or char == _SYLLABIC for char in letters)
            phones.append(unicodedata.normalize("NFC", letters) + (tone or (stress if vowel else "")))
            stress = "" if vowel else stress
    return phones


def espeak_phones(text: str, lang: str) -> list[tuple[list[str], bool]]:
    """Each word that the engine made of `text`: its phones, and whether it was read by another language's rules.

    Mandarin carries the prefix `zh_` and the engine's pitch digits: 5 high or falling, 3 rising, 2 low, 1 neutral. Its
    IPA does not tell the first tone from the fourth; pypinyin does.
    """
    words: list[tuple[list[str], bool]] = []
    foreign = False
    for word in espeak_ipa(text, lang).split():
        markers = _MARKER.findall(word)
        if markers and word.startswith(markers[0]):
            foreign = not _is_own(markers[0], lang)
        switched = foreign or any(not _is_own(marker, lang) for marker in markers)
        if lang in ("zh", "cmn"):
            for mnemonic, symbol in _MANDARIN:
                word = word.replace(mnemonic, symbol)
        phones = split_ipa(word)
        if lang in ("zh", "cmn"):
            phones = ["zh_" + phone for phone in phones]
        if phones:
            words.append((phones, switched))
        if markers:
            foreign = not _is_own(markers[-1], lang)
    return words


def _is_own(marker: str, lang: str) -> bool:
    spoken = marker[1:-1].partition("-")[0]
    return spoken in (lang.partition("-")[0], VOICES.get(lang, lang).partition("-")[0])


def _letters(word: str) -> list[str]:
    """`word` (NFD) cut before each letter that is neither a modifier nor joined to the last by a tie bar."""
    pieces: list[str] = []
    for char in word:
        modifier = unicodedata.category(char) in ("Mn", "Lm") and char not in _STRESS or char.isdigit()
        joined = pieces and (modifier or pieces[-1][-1] in _TIES or pieces[-1] in _STRESS)
        if joined:
            pieces[-1] += char
        else:
            pieces.append(char)
    return pieces
