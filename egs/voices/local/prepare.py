#!/usr/bin/env python
"""Stage 1: the data folders of other recipes -> data folders train, dev and test of all their speech.

Usage: local/prepare.py RECIPE... DATA_DIR [--more RECIPE...]
       (local/prepare.py ../asterisk ../tuxpaint data --more ../klettres ../ktuberling)

Utterances and speakers are prefixed with their corpus, which stands in the stream `corpus`; parts stay as they are. All
audio is brought to one rate below DATA_DIR/wav. Of the recipes after --more, which have few words of many languages, only
what is in a language of the others is taken: a further voice of it. left_out.tsv holds what was left out, and why. dev and
test get `trials` of speaker verification, each within a language and of other words, where a language has two speakers;
test of voices that conf/asv.yaml keeps from training, dev of the others.
"""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from speechrep.data.audio import AudioReader, header, write_wav
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.trials import make_trials, write_trials
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

PARTS = ("train", "dev", "test")
RATE_HZ = 8000
"""The lowest of any corpus: a wider band would tell which corpus an utterance is from, and so often its speaker."""

HELD_OUT = ("asterisk_ivrvoiceru", "asterisk_june", "klettres_da", "klettres_fr", "klettres_ru", "ktuberling_da",
            "ktuberling_fr", "tuxpaint_edwin", "tuxpaint_joe", "tuxpaint_paulk", "tuxpaint_unnamed_fr")
"""All voices of Danish, French and Russian: those of the trials of test, whom conf/asv.yaml keeps from training."""

STREAMS = ("text", "utt2spk", "utt2lang", "utt2dur", "utt2prompt", "utt2picture", "category", "image.scp")
"""Kept where a corpus has them. Phones are made anew, by one phonemiser a language."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", type=Path, nargs="+", help="folders of recipes whose stage 1 is done")
    parser.add_argument("data_dir", type=Path, help="where train, dev and test go, for example data")
    parser.add_argument("--more", type=Path, nargs="+", default=[], metavar="RECIPE",
                        help="recipes that add voices to languages of the others")
    args = parser.parse_args()
    try:
        prepare(args.recipes, args.data_dir, args.more)
    except SpeechrepError as error:
        sys.exit(f"error: {error}")


def prepare(recipes: list[Path], data_dir: Path, more: Sequence[Path] = ()) -> None:
    """Make the data folders. Raises `SpeechrepError` if a corpus is not prepared."""
    parts = {part: defaultdict(dict) for part in PARTS}
    left_out: list[str] = []
    for recipe in recipes:
        for part, tables in parts.items():
            merge(recipe, part, tables, data_dir)
    langs = {lang for tables in parts.values() for lang in tables["utt2lang"].values()}
    for recipe in more:
        for part, tables in parts.items():
            left_out += merge(recipe, part, tables, data_dir, langs)
    left_out += without_shared_texts(parts)
    write_text(data_dir / "left_out.tsv", "".join(f"{line}\n" for line in sorted(left_out)))
    os.sync()
    for part, tables in parts.items():
        write_folder(data_dir / part, tables)
    print(table(parts))
    for part in PARTS[1:]:
        print(f"{part}: {trials(data_dir / part, parts[part], tested=part == 'test')}")
    print(f"left out: {len(left_out)} utterances ({data_dir}/left_out.tsv)")


def merge(recipe: Path, part: str, tables: dict[str, dict[str, str]], data_dir: Path,
          langs: set[str] | None = None) -> list[str]:
    """Add the streams of one part of a recipe's corpus to `tables`, of these languages only where they are given. Returns
    lines for left_out.tsv."""
    folder = DataFolder(recipe / "data" / part)
    corpus = recipe.resolve().name
    others = {utt: lang for utt, lang in folder.read("utt2lang").items() if langs is not None and lang not in langs}
    # Paths in a recipe's folders are relative to the recipe.
    before = Path.cwd()
    os.chdir(recipe)
    try:
        entries = DataFolder(Path("data") / part).read("wav.scp")
        reader = AudioReader(DataFolder(Path("data") / part), rate_hz=RATE_HZ)
        for utt, entry in entries.items():
            if utt in others:
                continue
            same_rate = header(entry)[0] == RATE_HZ
            path = recipe / entry if same_rate else data_dir / "wav" / corpus / f"{utt}.wav"
            if not same_rate:
                write_wav(before / path, reader.read(utt)[0], RATE_HZ, sync=False)
            tables["wav.scp"][f"{corpus}_{utt}"] = str(path)
            tables["corpus"][f"{corpus}_{utt}"] = corpus
    finally:
        os.chdir(before)
    for stream in STREAMS:
        for utt, value in (folder.read(stream) if folder.has(stream) else {}).items():
            if utt in others:
                continue
            if stream == "utt2spk":
                value = f"{corpus}_{value}"
            elif stream.endswith(".scp"):
                value = str(recipe / value)
            tables[stream][f"{corpus}_{utt}"] = value
    return [f"{corpus}_{utt}\t{part}: no other corpus has the language: {lang}" for utt, lang in others.items()]


def without_shared_texts(parts: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    """Take out of train what dev or test say in the same language, and out of dev what test says: each corpus has kept
    its parts apart, but not from the other's. Returns lines for left_out.tsv."""
    left_out = []
    later: dict[tuple[str, str], str] = {}
    for part in reversed(PARTS):
        tables = parts[part]
        said = {utt: (tables["utt2lang"][utt], text) for utt, text in tables["text"].items()}
        for utt, key in said.items():
            if key in later:
                left_out.append(f"{utt}\t{part}: the same words as {later[key]}")
                for stream in tables.values():
                    stream.pop(utt, None)
        kept = {key: f"{utt} in {part}" for utt, key in said.items() if key not in later}
        later |= kept
    return left_out


def trials(path: Path, tables: dict[str, dict[str, str]], tested: bool) -> str:
    """Write the trials of a part, of the voices that training does not hear where it is tested, else of the others; of all,
    where some of those are not there. Returns how many, or why there are none."""
    speakers = tables["utt2spk"]
    if set(HELD_OUT) <= set(speakers.values()):
        speakers = {utt: name for utt, name in speakers.items() if (name in HELD_OUT) == tested}
    try:
        made = make_trials(speakers, tables["utt2lang"], utt2content=tables["text"])
    except SpeechrepError as error:
        return f"no trials: {error.found}"
    write_trials(path / "trials", made)
    return f"{len(made)} trials, {sum(target for _, _, target in made)} of them targets"


def table(parts: dict[str, dict[str, dict[str, str]]]) -> str:
    """Utterances and minutes of each language and voice in each part."""
    voices = sorted({(tables["utt2lang"][utt], speaker) for tables in parts.values()
                     for utt, speaker in tables["utt2spk"].items()})
    lines = [f"{'language':<9}{'speaker':<24}" + "".join(f"{part:>18}" for part in [*parts, "all"])]
    for lang, speaker in [*voices, ("all", "")]:
        cells = [[float(tables["utt2dur"][utt]) for utt in tables["wav.scp"]
                  if not speaker or (tables["utt2lang"][utt], tables["utt2spk"][utt]) == (lang, speaker)]
                 for tables in parts.values()]
        cells.append([seconds for cell in cells for seconds in cell])
        lines.append(f"{lang:<9}{speaker:<24}" + "".join(
            f"{f'{len(cell)} / {sum(cell) / 60:.1f} min':>18}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
