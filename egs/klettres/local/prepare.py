#!/usr/bin/env python
"""Stage 1: the letters and syllables of KLettres -> data folders train, dev and test.

Usage: local/prepare.py CORPUS_DIR DATA_DIR

Each language has a folder with sounds.xml, which tells the letter or syllable of each sound file. Beside the parts it
writes DATA_DIR/wav (mono files at 16 kHz) and DATA_DIR/left_out.tsv (every sound that was left out, and why).
"""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from speechrep.data.corpus import corpus_parser, run_prepare
from speechrep.data.recorded import Recording, summary, write_parts
from speechrep.data.text.normalise import normalise
from speechrep.data.text.tables import LETTER_NAMES
from speechrep.errors import SpeechrepError

LEVELS = {"alphabet": "letter", "syllables": "syllable"}

HOMOGLYPHS = dict(zip("aceopxyABCEHKMOPTXаеорсух", "асеорхуАВСЕНКМОРТХaeopcyx"))
"""Letters of Latin and Cyrillic that look the same: the Russian file writes one syllable with a Latin O."""

SIGNS = {"ru": {"ъ": "твёрдый знак", "ь": "мягкий знак"}}
"""Letters without a sound, by the name that one says."""

OTHER_VOICES = {("de", "letter"): "de_letters"}
"""German letters were recorded later and by another voice, as a speaker encoder hears it (README.md)."""

VOWELLESS = re.compile(r"[bcdfghjklmnpqrstvwxz]+")


def prepare(corpus_dir: Path, data_dir: Path) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there or its XML cannot be read."""
    root = find_root(corpus_dir)
    recordings: list[Recording] = []
    left_out: dict[str, str] = {}
    for path in sorted(root.glob("*/sounds.xml")):
        voice, sounds = read_sounds(path)
        named = set()
        for level, written, file in sounds:
            named.add(file)
            text, why = spoken_text(written, level, voice)
            if not why and not (root / file).is_file():
                why = "no such file in the package"
            if why:
                left_out[f"{file} {written}"] = why
                continue
            speaker = OTHER_VOICES.get((voice, level), voice.lower())
            recordings.append(Recording(root / file, f"{speaker}_{level}-{Path(file).stem}", speaker, voice[:2],
                                        text))
        for sound in sorted(path.parent.glob("*/*.ogg")):
            if sound.relative_to(root).as_posix() not in named:
                left_out[sound.relative_to(root).as_posix()] = "no text: sounds.xml does not name it"
    parts = write_parts(distinct(recordings, left_out), data_dir, left_out)
    print(summary(parts, data_dir))


def find_root(corpus_dir: Path) -> Path:
    """The folder of languages in what was unpacked. Raises `SpeechrepError` if there is none."""
    found = sorted(path.parent.parent for path in corpus_dir.rglob("sounds.xml"))
    if not found:
        raise SpeechrepError(f"{corpus_dir}: no sounds.xml in it", "LANGUAGE/sounds.xml and LANGUAGE/{alpha,syllab}/*.ogg",
                             "run stage 0 (download), or name the folder where they are")
    return found[0]


def read_sounds(path: Path) -> tuple[str, list[tuple[str, str, str]]]:
    """The language (fr, en_GB) of a sounds.xml and its sounds: (letter or syllable, as written, file)."""
    try:
        language = next(ElementTree.parse(path).getroot().iter("language"))
        return language.attrib["code"], [(level, sound.attrib["name"], sound.attrib["file"])
                                         for tag, level in LEVELS.items() for table in language.iter(tag)
                                         for sound in table.iter("sound")]
    except (ElementTree.ParseError, StopIteration, KeyError) as error:
        raise SpeechrepError(f"{path}: not readable: {error!r}", '<language code="..."> with <sound name="..." file="..."/>',
                             "run stage 0 (download) again") from None


def spoken_text(written: str, level: str, voice: str) -> tuple[str, str]:
    """What is said and "", or "" and the reason to leave it out. `voice` is the code of its folder: fr, en_GB."""
    lang = re.split("[_@]", voice)[0]
    if len(lang) != 2:
        return "", f"a language without a code of two letters: {voice}"
    text = one_script(written).lower()
    if level == "letter":
        text = SIGNS.get(lang, {}).get(text) or LETTER_NAMES.get(lang, {}).get(text, text)
    elif VOWELLESS.fullmatch(text):
        return "", f"doubtful text: letters that are no syllable: {written}"
    try:
        text = normalise(text, lang)
    except SpeechrepError as error:
        return "", f"unreadable text: {error.found}"
    return (text, "") if text else ("", f"no text: nothing to say in '{written}'")


def one_script(text: str) -> str:
    """A word in which Latin and Cyrillic letters are mixed, all in the script that most are in."""
    cyrillic = sum("\u0400" <= char <= "\u04ff" for char in text)
    latin = sum(char.isalpha() and char < "\u0250" for char in text)
    if not cyrillic or not latin:
        return text
    return "".join(HOMOGLYPHS.get(char, char) if ("\u0400" <= char <= "\u04ff") != (cyrillic >= latin) else char
                   for char in text)


def distinct(recordings: list[Recording], left_out: dict[str, str]) -> list[Recording]:
    """Without files that sounds.xml names twice, of which either text may be the right one."""
    names: dict[Path, set[str]] = {}
    for recording in recordings:
        names.setdefault(recording.path, set()).add(recording.text)
    kept: dict[Path, Recording] = {}
    for recording in recordings:
        if len(names[recording.path]) > 1:
            left_out[f"{recording.utt} {recording.text}"] = "doubtful text: sounds.xml gives the file two"
        else:
            kept.setdefault(recording.path, recording)
    return list(kept.values())


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__, partial=False))
