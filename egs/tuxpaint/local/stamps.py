"""The tree of stamps as Tux Paint has it: what lies in it, told apart by name.

    animals/birds/crow.png          the picture, or crow.svg, or both
    animals/birds/crow.txt          what it is called: the first line in English, then `LANGUAGE.utf8=...`
    animals/birds/crow_desc_es.ogg  that text, spoken; crow_desc.ogg is the English one
    animals/birds/crow.ogg          a sound effect
    symbols/math/3_fr.ogg           the name of a number, symbols/alphabets/.../a_filled_en_GB.ogg of a letter
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speechrep.errors import SpeechrepError

DESCRIPTION = re.compile(r"(?P<stamp>.+)_desc(?:_(?P<lang>[a-z]{2,3}(?:_[A-Z]{2})?(?:@[a-z]+)?))?(?P<twice>\.ogg)?")
"""Name of a spoken description, without its ending. One file ends in `.ogg.ogg`."""

SOUNDS = (".ogg", ".wav")
TEXT_LINE = re.compile(r"([A-Za-z_]+(?:@[a-z]+)?)\.utf8=(.*)")


@dataclass(frozen=True)
class Sound:
    """One sound file below the stamps."""

    path: Path
    kind: str
    """description, letter, number or effect."""
    stamp: str = ""
    """Path of its picture below the folder of stamps, without the ending: `animals/birds/crow`."""
    lang: str = ""
    """Language of a description as its name gives it: fr, pt_BR."""

    @property
    def category(self) -> str:
        """The outermost folder: animals, food, town ..."""
        return self.stamp.partition("/")[0]


def find_stamps(corpus_dir: Path) -> Path:
    """The folder of stamps in what was unpacked. Raises `SpeechrepError` if there is none."""
    found = sorted(path for path in (corpus_dir, *corpus_dir.rglob("stamps"))
                   if path.is_dir() and (path / "animals").is_dir())
    if not found:
        raise SpeechrepError(f"{corpus_dir}: no stamps in it", "a folder of stamps, with `animals` and others in it",
                             "run stage 0 (download), or name the folder where they are")
    return found[0]


def find_sounds(stamps: Path) -> Iterator[Sound]:
    """Every sound file below `stamps`, in the order of their paths."""
    for path in sorted(path for path in stamps.rglob("*") if path.suffix.lower() in SOUNDS and path.is_file()):
        folder = path.parent.relative_to(stamps).as_posix()
        match = DESCRIPTION.fullmatch(path.stem)
        name = match["stamp"] if match else path.stem
        if folder.startswith("symbols/alphabets"):
            kind = "letter"
        elif folder == "symbols/math" and re.fullmatch(r"\d+(?:_.*)?", name):
            kind = "number"
        else:
            kind = "description" if match else "effect"
        yield Sound(path, kind, f"{folder}/{name}", (match["lang"] or "en") if match else "")


def read_texts(path: Path) -> dict[str, str]:
    """Language -> text of a stamp's `.txt`; empty lines of a language are left out. "" for a file that is not there.

    Raises `SpeechrepError` for a file that is not UTF-8.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise SpeechrepError(f"{path}: not UTF-8 ({error.reason})", "UTF-8 text", "mend it, or leave it out") from None
    texts: dict[str, str] = {}
    for number, line in enumerate(lines):
        match = TEXT_LINE.fullmatch(line.strip())
        if match:
            texts.setdefault(match[1], match[2].strip())
        elif number == 0:
            texts["en"] = line.strip()
    return {lang: text for lang, text in texts.items() if text}


def find_picture(stamps: Path, stamp: str) -> Path | None:
    """The picture of a stamp: its PNG, else its SVG, else None."""
    for ending in (".png", ".svg"):
        path = stamps / f"{stamp}{ending}"
        if path.is_file():
            return path
    return None


def encoder_of(path: Path) -> str:
    """The date of the program that made an Ogg Vorbis file, "20101101", from its header; "" where there is none."""
    with open(path, "rb") as file:
        match = re.search(rb"Xiph\.Org libVorbis I (\d{8})", file.read(4096))
    return match[1].decode() if match else ""
