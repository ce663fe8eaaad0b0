#!/usr/bin/env python
"""Stage 1: Libri2Mix as LibriMix generates it -> data/mix_train, mix_dev and mix_test with `rttm`.

Usage: local/prepare.py [--partial] [--mixture mix_both|mix_clean] [--rttm DIR] CORPUS_DIR DATA_DIR

CORPUS_DIR holds wav16k/max/{train-100,dev,test}/{s1,s2,mix_both,mix_clean} and wav16k/max/metadata, or a folder Libri2Mix
with it. When each speaker talks is read from the RTTM files of LibriSpeech's own utterances that SUPERB's fork of LibriMix
has in metadata/LibriSpeech ({train_clean_100,dev_clean,test_clean}.rttm): in a mixture of mode `max` both utterances begin
at 0.
"""

import csv
from collections import defaultdict
from pathlib import Path

from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare
from speechrep.data.lists import line_problem
from speechrep.errors import SpeechrepError

AUDIO = "wav16k/max"
PARTS = {"mix_train": ("train-100", "train_clean_100"), "mix_dev": ("dev", "dev_clean"), "mix_test": ("test", "test_clean")}
"""Data folder -> the part of Libri2Mix, and the RTTM of the LibriSpeech part that it is mixed of."""

PUBLISHED = {"mix_train": {"utterances": 13900}, "mix_dev": {"utterances": 3000}, "mix_test": {"utterances": 3000}}
"""The paper's table 1, recalled; a summary of it (emergentmind.com/topics/libri2mix-dataset) has the 13,900. The card of
s3prl/superb on the Hugging Face Hub has 13,901, 3,014 and 3,002 examples of `sd`, which are stretches of mixtures."""
SOURCE = "Cosentino et al. 2020, table 1"
RTTM_PLACES = ("rttm", "metadata/LibriSpeech", "LibriMix/metadata/LibriSpeech")
"""Below CORPUS_DIR, where --rttm is not given."""


def prepare(corpus_dir: Path, data_dir: Path, mixture: str = "mix_both", rttm: Path | None = None,
            partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` for another layout and, unless `partial`, an incomplete corpus."""
    root = find_folder(corpus_dir, AUDIO, ["Libri2Mix"])
    rttm = rttm or find_rttm(corpus_dir, root)
    corpus = Corpus("Libri2Mix", data_dir, partial)
    for part, (name, librispeech) in PARTS.items():
        turns = read_turns(rttm / f"{librispeech}.rttm")
        lines = []
        for mix in read_mixtures(root / AUDIO / f"metadata/mixture_{name}_{mixture}.csv"):
            sources = mix.split("_")
            if corpus.add(part, mix, root / AUDIO / name / mixture / f"{mix}.wav",
                          {"utt2spk": "+".join(source.split("-")[0] for source in sources), "utt2lang": "en"}):
                for source in sources:
                    lines += turns_of(mix, source, turns, rttm / f"{librispeech}.rttm")
        corpus.add_list(part, "rttm", lines)
    corpus.write(PUBLISHED, SOURCE)


def find_rttm(*folders: Path) -> Path:
    """Where the RTTM files are. Raises `SpeechrepError` if nowhere."""
    for folder in folders:
        for place in RTTM_PLACES:
            if (folder / place / "train_clean_100.rttm").is_file():
                return folder / place
    raise SpeechrepError(f"{folders[0]}: no train_clean_100.rttm in {', '.join(RTTM_PLACES)}",
                         "the RTTM files of LibriSpeech that SUPERB's fork of LibriMix has in metadata/LibriSpeech",
                         "fetch them (see README.md) and name their folder: --rttm DIR")


def read_mixtures(path: Path) -> list[str]:
    """The mixtures of a part, `SOURCE1_SOURCE2`. Raises `SpeechrepError` for a missing file and ids of another form."""
    mixtures = []
    for row in csv.DictReader(read_lines(path, "LibriMix's list of the mixtures of a part")):
        mix = row.get("mixture_ID") or ""
        sources = mix.split("_")
        if len(sources) != 2 or any(len(source.split("-")) != 3 for source in sources):
            raise SpeechrepError(f"{path}: the mixture '{mix}'",
                                 "SPEAKER-CHAPTER-NUMBER_SPEAKER-CHAPTER-NUMBER in the column mixture_ID",
                                 "make the corpus again, of two speakers")
        mixtures.append(mix)
    return mixtures


def read_turns(path: Path) -> dict[str, list[tuple[str, str, str]]]:
    """CHAPTER-NUMBER, as the files have it, -> (speaker, start, duration), seconds. Raises `SpeechrepError` for a
    missing file and lines of another form."""
    turns = defaultdict(list)
    for number, line in enumerate(read_lines(path, "the RTTM of a part of LibriSpeech"), 1):
        fields = tuple(line.split())
        found = line_problem("rttm", fields)
        if found:
            raise SpeechrepError(f"{path}:{number}: {found}: '{line[:80]}'",
                                 "SPEAKER CHAPTER-NUMBER 1 START DURATION <NA> <NA> SPEAKER-ID <NA> <NA>", "fetch it again")
        turns[fields[1]].append((fields[7], fields[3], fields[4]))
    return turns


def turns_of(mix: str, source: str, turns: dict[str, list[tuple[str, str, str]]], path: Path) -> list[tuple[str, ...]]:
    """The RTTM lines of one of the two utterances of a mixture. Raises `SpeechrepError` where the file lacks it, or gives it
    to another speaker."""
    speaker, _, utterance = source.partition("-")
    found = turns.get(utterance) or turns.get(source)
    if not found:
        raise SpeechrepError(f"{path}: no lines of {source}, which {mix} is mixed of", "the RTTM files of the same parts",
                             "fetch them again; LibriMix's own metadata have none")
    others = {name for name, _, _ in found} - {speaker}
    if others:
        raise SpeechrepError(f"{path}: {utterance} is said by {', '.join(sorted(others))}", f"by {speaker}, as in {mix}",
                             "fetch it again")
    return [("SPEAKER", mix, "1", start, duration, "<NA>", "<NA>", speaker, "<NA>", "<NA>")
            for _, start, duration in found]


if __name__ == "__main__":
    options = corpus_parser(__doc__)
    options.add_argument("--mixture", choices=("mix_both", "mix_clean"), default="mix_both",
                         help="with noise, as SUPERB has it, or without (default: mix_both)")
    options.add_argument("--rttm", type=Path, help="folder of {train_clean_100,dev_clean,test_clean}.rttm")
    run_prepare(prepare, options)
