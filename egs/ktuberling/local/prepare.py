#!/usr/bin/env python
"""Stage 1: the spoken words of KTuberling -> data folders train, dev and test.

Usage: local/prepare.py CORPUS_DIR DATA_DIR

LANGUAGE.soundtheme names the sound file of each thing on the playgrounds (`<sound name="egypt_donkey"
file="fr/egypte_ane.wav"/>`). What is said is written nowhere; where translators named the file in their own language, its
name tells the word, which spelling.tsv gives back its accents. Beside the parts it writes DATA_DIR/wav (mono files at
16 kHz) and DATA_DIR/left_out.tsv (every sound that was left out, and why).
"""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from speechrep.data.corpus import corpus_parser, run_prepare
from speechrep.data.recorded import Recording, summary, write_parts
from speechrep.data.text.normalise import normalise
from speechrep.errors import SpeechrepError

NAMED_IN_OWN = {"da", "en", "es", "fi", "fr", "it", "nl", "pt", "ro", "sv"}
"""Languages whose files, or some of them, are named by the word that is said, in a spelling that spelling.tsv knows."""

PLAYGROUND = re.compile(r"(?:egypte?|lune|moon|noel|papillons|patate|pizza|pizzeria|robin|robot|tv|xmas)_")
"""What file names begin with and is not said."""

SOUNDS = (".wav", ".ogg", ".opus")
SPELLING = Path(__file__).resolve().parent / "spelling.tsv"


def prepare(corpus_dir: Path, data_dir: Path) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there or a theme cannot be read."""
    root = find_root(corpus_dir)
    spelling = read_spelling()
    themes = {path.stem: read_theme(path) for path in sorted(root.glob("*.soundtheme"))}
    recordings, left_out = [], {}
    for voice, theme in themes.items():
        for file, names in theme.items():
            if not (root / file).is_file():
                left_out[file] = "no such file in the package"
                continue
            text, why = spoken_text(file, names, voice, spelling)
            if why:
                left_out[file] = why
            else:
                recordings.append(Recording(root / file, f"{voice}_{Path(file).stem.lower()}", voice, voice, text))
    named = {file for theme in themes.values() for file in theme}
    for path in sorted(root.glob("*/*")):
        file = path.relative_to(root).as_posix()
        if path.suffix in SOUNDS and file not in named:
            left_out[file] = "in no theme"
    parts = write_parts(recordings, data_dir, left_out)
    print(summary(parts, data_dir))


def find_root(corpus_dir: Path) -> Path:
    """The folder of themes in what was unpacked. Raises `SpeechrepError` if there is none."""
    found = sorted(path.parent for path in corpus_dir.rglob("*.soundtheme"))
    if not found:
        raise SpeechrepError(f"{corpus_dir}: no .soundtheme in it", "LANGUAGE.soundtheme and LANGUAGE/*.wav or .ogg",
                             "run stage 0 (download), or name the folder where they are")
    return found[0]


def read_spelling() -> dict[tuple[str, str], str]:
    """(language, words of a file's name) -> the words as they are written."""
    rows = [line.split("\t") for line in SPELLING.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {(lang, named): written for lang, named, written in rows}


def read_theme(path: Path) -> dict[str, list[str]]:
    """Sound file (`fr/egypte_ane.wav`) -> the names that a theme has for it. Raises `SpeechrepError` for bad XML."""
    files: dict[str, list[str]] = {}
    try:
        for sound in ElementTree.parse(path).getroot().iter("sound"):
            files.setdefault(sound.attrib["file"], []).append(sound.attrib["name"])
    except (ElementTree.ParseError, KeyError) as error:
        raise SpeechrepError(f"{path}: not readable: {error!r}", '<sound name="..." file="..."/>',
                             "run stage 0 (download) again") from None
    return files


def spoken_text(file: str, names: list[str], voice: str, spelling: dict[tuple[str, str], str]) -> tuple[str, str]:
    """What is said and "", or "" and the reason to leave it out.

    `names`: what the theme calls the file, in English; a file named the same is named in English too.
    """
    if voice not in NAMED_IN_OWN:
        return "", f"no text: what is said in this language is not written down: {voice}"
    stem = Path(file).stem
    words = PLAYGROUND.sub("", stem, count=1).replace("-", " ").replace("_", " ").lower()
    if voice == "da" and (stem in names or stem.startswith("tux-")) and (voice, words) not in spelling:
        return "", "no text: the file is named in English"
    try:
        text = normalise(spelling.get((voice, words), words), voice)
    except SpeechrepError as error:
        return "", f"unreadable text: {error.found}"
    return text, "" if text else "no text: an empty name"


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__, partial=False))
