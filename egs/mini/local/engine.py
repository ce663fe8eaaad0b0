"""eSpeak NG as a speaker of known phones: phones in, samples and the true time of each phone out.

The phones come from the toolkit's own phonemisers (ARPAbet, pinyin) and are handed to the engine as its mnemonics
(English) or as pinyin syllables (Mandarin), not as text: so what is said is exactly what the phonemiser writes. The
engine reports when each of its phonemes starts.
"""

import ctypes
import functools
import json
import os
import re
from dataclasses import dataclass

import numpy as np

from speechrep.data.text.espeak import load_espeak
from speechrep.data.text.normalise import normalise
from speechrep.data.text.phonemize import Phonemizer
from speechrep.errors import SpeechrepError

ENGINE_HZ = 22050
VOICES = {"en": "en-us", "zh": "cmn-latn-pinyin"}

_MNEMONICS = dict(
    AA="A:", AE="a", AH="V", AH0="@", AO="O:", AW="aU", AY="aI", B="b", CH="tS", D="d", DH="D", EH="E", ER="3:", ER0="3",
    EY="eI", F="f", G="g", HH="h", IH="I", IY="i:", IY0="i", JH="dZ", K="k", L="l", M="m", N="n", NG="N", OW="oU", OY="OI",
    P="p", R="r", S="s", SH="S", T="t", TH="T", UH="U", UW="u:", V="v", W="w", Y="j", Z="z", ZH="Z")
# The engine gives an r or l after a vowel little or no time of its own; these are its vowels coloured by one.
_CODAS = {"R": "3", "L": "@L"}
_UNSTRESSED = frozenset("""a am an and are as at be been but by can could do for from has have he her him his i in is it its
    me my of on or our she should so some than that the their them there they this to up us was we were when will with
    would you your""".split())
_WITHOUT_INITIAL = {"i": "yi", "in": "yin", "ing": "ying", "u": "wu", "v": "yu", "ve": "yue", "van": "yuan", "vn": "yun",
                    "iou": "you", "uei": "wei", "uen": "wen", "ueng": "weng"}
_CONTRACTED = {"iou": "iu", "uei": "ui", "uen": "un"}

_SYNCHRONOUS, _PHONEME_EVENTS, _NO_EXIT = 2, 0x0001, 0x8000
_UTF8, _PHONEMES_IN_BRACKETS = 1, 0x0100
_RATE, _PITCH, _RANGE = 1, 3, 4
_LIST_END, _WORD, _PHONEME = 0, 1, 7
_GLIDES = ("_|", ";", "r-")  # marks and glides that the engine adds between phones: they belong to the phone before
_MIN_ZEROS = 66      # 3 ms of exact zeros at 22,050 Hz
_MIN_PAUSE = 441     # 20 ms: shorter pauses belong to the phone that follows


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
                ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
                ("user_data", ctypes.c_void_p), ("id", _Id)]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Clause:
    """What is said between two punctuation marks: words, each a list of phones."""

    words: list[str]
    phones: list[list[str]]
    mark: str


def phonemise(text: str, lang: str) -> tuple[str, list[Clause]]:
    """The normalised text, and its clauses with their phones.

    Raises `SpeechrepError` if a package for the language is missing, or punctuation changes what is said.
    """
    pieces = re.findall(r"([^,.?!;，。？！；]+)([,.?!;，。？！；])", text)
    spoken = [normalise(piece, lang) for piece, _ in pieces]
    whole = normalise(text, lang)
    if " ".join(spoken) != whole:
        raise SpeechrepError(f"'{text}' is not read clause by clause", f"'{whole}'", "end it with a full stop")
    words, phones = whole.split(), _phonemizer().phones(whole, lang)
    clauses, at = [], 0
    for piece, (_, mark) in zip(spoken, pieces):
        count = len(piece.split())
        clauses.append(Clause(words[at:at + count], phones[at:at + count], "?" if mark in "?？" else mark))
        at += count
    return whole, clauses


@functools.cache
def _phonemizer() -> Phonemizer:
    return Phonemizer()


def spoken_form(clauses: list[Clause], lang: str) -> str:
    """What the engine is given: English phones as mnemonics in double brackets, Mandarin as pinyin syllables."""
    said = []
    for clause in clauses:
        if lang == "en":
            said.append(" ".join(f"[[{_mnemonics(word, phones)}]]" for word, phones in zip(clause.words, clause.phones)))
        else:
            said.append(" ".join(_pinyin(syllable) for phones in clause.phones for syllable in syllables(phones)))
    marks = ["," if clause.mark in ",，;；" else clause.mark for clause in clauses[:-1]]
    marks.append("?" if clauses[-1].mark == "?" else ".")
    return " ".join(f"{words}{'.' if mark in '。！!' else mark}" for words, mark in zip(said, marks))


def _mnemonics(word: str, phones: list[str]) -> str:
    said = []
    for index, phone in enumerate(phones):
        base, stress = phone.rstrip("012"), phone[-1:] if phone[-1].isdigit() else ""
        after = phones[index + 1] if index + 1 < len(phones) else ""
        if base in _CODAS and index and phones[index - 1][-1].isdigit() and not after[-1:].isdigit():
            said.append(_CODAS[base])
            continue
        mark = {"1": "'", "2": ","}.get(stress, "") if word not in _UNSTRESSED else ""
        said.append(mark + (_MNEMONICS.get(phone) or _MNEMONICS[base]))
    return "|".join(said)


def syllables(phones: list[str]) -> list[list[str]]:
    """Mandarin phones by syllable, each of which ends with its final: the phone with the tone."""
    found: list[list[str]] = [[]]
    for phone in phones:
        found[-1].append(phone)
        if phone[-1].isdigit():
            found.append([])
    if found.pop():
        raise SpeechrepError(f"a syllable without a final in {' '.join(phones)}", "initial, final and tone")
    return found


def _pinyin(syllable: list[str]) -> str:
    """A syllable of strict initial and final in pinyin's spelling: zh_uen2 -> wen2, zh_j zh_v4 -> ju4."""
    *initial, final = (phone.removeprefix("zh_") for phone in syllable)
    final, tone = final[:-1], final[-1]
    if not initial:
        if final in _WITHOUT_INITIAL:
            return _WITHOUT_INITIAL[final] + tone
        return {"i": "y", "u": "w"}.get(final[0], final[0]) + final[1:] + tone
    if initial[0] in "jqx" and final.startswith("v"):
        final = "u" + final[1:]
    return initial[0] + _CONTRACTED.get(final, final) + tone


@functools.cache
def _start() -> tuple[ctypes.CDLL, list, list, object]:
    library, data = load_espeak()
    # load_espeak asks for events with IPA names, in which pauses have none; here the mnemonics are wanted.
    library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _PHONEME_EVENTS | _NO_EXIT)
    library.espeak_Synth.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint,
                                     ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]
    pieces: list[np.ndarray] = []
    events: list[tuple] = []

    def collect(samples, count, event):
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while event[index].type != _LIST_END:
            this = event[index]
            if this.type in (_WORD, _PHONEME):
                # Eight bytes that need not end with a zero, hence not the field itself.
                raw = ctypes.string_at(ctypes.addressof(this.id), 8).split(b"\0")[0]
                name = raw.decode("utf-8", "replace") if this.type == _PHONEME else ""
                events.append((this.type, this.sample, name, this.text_position))
            index += 1
        return 0

    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    return library, pieces, events, callback


def synthesise(spoken: str, voice: str, speed: int, pitch: int, pitch_range: int) -> tuple[np.ndarray, list[tuple]]:
    """int16 [T] at 22,050 Hz, and events (type, sample, name, text position) for `spoken`.

    The engine carries state from one utterance to the next and draws random numbers, so each is made in a fork of the
    process that loaded it, with its seeds set: the same call gives the same samples whatever came before.

    Raises:
        SpeechrepError: the voice is not known, or the engine said nothing.
    """
    library, pieces, events, _ = _start()
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(receive)
            library.espeak_ng_SetRandSeed(1)
            ctypes.CDLL(None).srand(1)
            if library.espeak_SetVoiceByName(voice.encode()) == 0:
                for parameter, value in ((_RATE, speed), (_PITCH, pitch), (_RANGE, pitch_range)):
                    library.espeak_SetParameter(parameter, value, 0)
                said = spoken.encode()
                library.espeak_Synth(said, len(said) + 1, 0, 1, 0, _UTF8 | _PHONEMES_IN_BRACKETS, None, None)
            with os.fdopen(send, "wb") as pipe:
                pipe.write(json.dumps(events).encode() + b"\n")
                pipe.write(b"".join(piece.tobytes() for piece in pieces))
            status = 0
        finally:
            os._exit(status)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        head, _, body = pipe.read().partition(b"\n")
    _, status = os.waitpid(child, 0)
    if status or not body:
        raise SpeechrepError(f"eSpeak NG said nothing with the voice '{voice}': {spoken}", "a voice that it has",
                             "see local/speakers.tsv")
    return np.frombuffer(body, np.int16), [tuple(event) for event in json.loads(head)]


def true_times(samples: np.ndarray, events: list[tuple], phones: list[str], lang: str) -> list[tuple[str, int]]:
    """(phone or SIL, end in samples at 22,050 Hz) of each segment, from 0 to the end of `samples`.

    The engine puts the closure of a stop, in exact zeros, before the stop's event: zeros right before an event belong
    to the phone that the event begins. A pause (between clauses) is SIL and ends where the engine begins the next word.

    Raises:
        SpeechrepError: the engine made more or fewer phones of what it was given.
    """
    starts: list[list] = []      # [sample, text position, start of the pause before or -1]
    pause, word, end = -1, 0, len(samples)
    for kind, sample, name, position in events:
        if kind == _WORD:
            word = sample
        elif name.startswith("_") and name not in _GLIDES:
            pause = sample if pause < 0 else pause
        elif name and name not in _GLIDES:
            if name.startswith("("):
                raise SpeechrepError(f"the engine changed language, {name}, in {' '.join(phones)}", "one language")
            first = not starts
            at = max(word, pause) if pause >= 0 or first else _before_zeros(samples, sample, starts[-1][0])
            starts.append([min(at, sample), position, pause])
            pause = -1
    if pause >= 0:
        end = pause
    if lang == "zh":
        starts = _by_syllable(starts, phones)
    if len(starts) != len(phones):
        raise SpeechrepError(f"the engine made {len(starts)} phones of {len(phones)}: {' '.join(phones)}",
                             "one for one", "word the text differently")
    segments: list[tuple[str, int]] = []
    for index, (start, _, paused) in enumerate(starts):
        if paused >= 0 and start - paused >= _MIN_PAUSE:
            segments += [(phones[index - 1], paused), ("SIL", start)] if index else [("SIL", start)]
        elif index:
            segments.append((phones[index - 1], paused if paused >= 0 else start))
        elif start:
            segments.append(("SIL", start))
    segments.append((phones[-1], end))
    if end < len(samples):
        segments.append(("SIL", len(samples)))
    return segments


def _before_zeros(samples: np.ndarray, sample: int, floor: int) -> int:
    """Where the run of exact zeros that ends at `sample` begins, not before `floor`; `sample` if it is too short."""
    sounding = np.flatnonzero(samples[floor:sample])
    begin = floor + int(sounding[-1]) + 1 if len(sounding) else sample
    return begin if sample - begin >= _MIN_ZEROS else sample


def _by_syllable(starts: list[list], phones: list[str]) -> list[list]:
    """Of the engine's phonemes of each syllable keep the first, and the second where there is an initial."""
    groups: list[list[list]] = []
    for start in starts:
        if not groups or groups[-1][0][1] != start[1]:
            groups.append([])
        groups[-1].append(start)
    wanted = syllables(phones)
    if len(groups) != len(wanted):
        raise SpeechrepError(f"the engine made {len(groups)} syllables of {len(wanted)}: {' '.join(phones)}", "one for one",
                             "word the text differently")
    return [start for group, syllable in zip(groups, wanted) for start in group[:len(syllable)]]
