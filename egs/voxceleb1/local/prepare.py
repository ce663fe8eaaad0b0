#!/usr/bin/env python
"""Stage 1: VoxCeleb1 -> the data folders identification/{train,dev,test} and verification/{train,dev,test}.

Usage: local/prepare.py [--trials cleaned|original] [--dev-speakers N] [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds dev/wav and test/wav with SPEAKER/VIDEO/NNNNN.wav and, there or in meta/, the lists veri_test_class.txt
(also called iden_split.txt) and veri_test2.txt (or veri_test.txt). Identification is divided by that list, all speakers
are in each part. In verification, test is the test set with its `trials`; the official development set is train, save the
speakers held out for dev, since the corpus has no set to choose by.
"""

import hashlib
import re
from pathlib import Path

from speechrep.data.corpus import Corpus, corpus_parser, find_folder, run_prepare, split_fields
from speechrep.errors import SpeechrepError

IDENTIFICATION = {"1": "identification/train", "2": "identification/dev", "3": "identification/test"}
"""Number in the list -> data folder."""

PUBLISHED = {"identification/train": {"utterances": 138361, "speakers": 1251},
             "identification/dev": {"utterances": 6904, "speakers": 1251},
             "identification/test": {"utterances": 8251, "speakers": 1251},
             "verification/test": {"utterances": 4874, "speakers": 40}}
"""Identification: the card of s3prl/superb on the Hugging Face Hub, `si`. Verification: the VoxCeleb page, as PaddleSpeech's
examples/voxceleb repeats it."""

DEVELOPMENT = {"utterances": 148642, "speakers": 1211}
"""The official development set, which becomes train and dev of verification; counted by the same page."""

TRIALS = {"cleaned": ("veri_test2.txt", 37611), "original": ("veri_test.txt", 37720)}
"""Which trials -> their file and number, by the same page."""

SOURCE = "Nagrani et al., Interspeech 2017; the VoxCeleb page; the card of s3prl/superb"

WAV = re.compile(r"(id\d{5})/([^/\s]+)/(\d{5})\.wav")


def main() -> None:
    parser = corpus_parser(__doc__)
    parser.add_argument("--trials", choices=tuple(TRIALS), default="cleaned",
                        help="veri_test2.txt, or veri_test.txt with its mistakes (default: %(default)s)")
    parser.add_argument("--dev-speakers", type=int, default=40, metavar="N",
                        help="speakers of the development set who are verification/dev; 0: train on all of it and choose "
                        "by nothing, as SUPERB's training data are (default: %(default)s)")
    run_prepare(prepare, parser)


def prepare(corpus_dir: Path, data_dir: Path, trials: str = "cleaned", dev_speakers: int = 40,
            partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there, or incomplete without `partial`."""
    root = find_folder(corpus_dir, "dev/wav", ["VoxCeleb1", "voxceleb1"])
    corpus = Corpus("VoxCeleb1", data_dir, partial)
    found = {half: {path.relative_to(root / half / "wav").as_posix(): path
                    for path in sorted((root / half / "wav").glob("*/*/*.wav"))} for half in ("dev", "test")}
    add_identification(corpus, root, found["dev"] | found["test"])
    add_verification(corpus, found, dev_speakers)
    name, number = TRIALS[trials]
    rows = [(utt_of(first), utt_of(second), {"1": "target", "0": "nontarget"}.get(same, "neither 1 nor 0"))
            for same, first, second in split_fields(find_list(root, name), "trials: 1|0 FILE FILE", 3)]
    for first, second, label in rows:
        if label != ("target" if first[:7] == second[:7] else "nontarget"):
            raise SpeechrepError(f"{name}: the trial of {first} and {second} is {label}",
                                 "1 where both are of one speaker, else 0", "fetch the list again")
    corpus.add_list("verification/test", "trials", rows)
    corpus.write(PUBLISHED | {"verification/test": PUBLISHED["verification/test"] | {"trials": number}}, SOURCE)


def add_identification(corpus: Corpus, root: Path, found: dict[str, Path]) -> None:
    """The three parts as the list has them, `1|2|3 SPEAKER/VIDEO/NNNNN.wav`, whichever half of the corpus a file is in."""
    names = ("veri_test_class.txt", "iden_split.txt")
    for number, wav in split_fields(find_list(root, *names), "the identification split: 1|2|3 FILE", 2):
        if number not in IDENTIFICATION:
            raise SpeechrepError(f"{' or '.join(names)}: '{number} {wav}'", "1, 2 or 3 before each file",
                                 "fetch the list again")
        add(corpus, IDENTIFICATION[number], wav, found.get(wav))


def add_verification(corpus: Corpus, found: dict[str, dict[str, Path]], dev_speakers: int) -> None:
    """Test as it is, and the development set with speakers held out by a hash of their ids."""
    speakers = sorted({wav[:7] for wav in found["dev"]}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    counts = {"utterances": len(found["dev"]), "speakers": len(speakers)}
    if counts != DEVELOPMENT:
        corpus.complain(f"dev/wav has {counts['utterances']} utterances of {counts['speakers']} speakers instead of "
                        f"{DEVELOPMENT['utterances']} of {DEVELOPMENT['speakers']}", f"the counts as published ({SOURCE})")
    held_out = set(speakers[:dev_speakers])
    if not held_out:
        corpus.drop("verification/dev")
    for wav, path in found["dev"].items():
        add(corpus, "verification/dev" if wav[:7] in held_out else "verification/train", wav, path)
    for wav, path in found["test"].items():
        add(corpus, "verification/test", wav, path)


def add(corpus: Corpus, part: str, wav: str, path: Path | None) -> None:
    """SPEAKER/VIDEO/NNNNN.wav as the utterance SPEAKER-VIDEO-NNNNN; None: it is not there."""
    corpus.add(part, utt_of(wav), path or wav, {"utt2spk": wav[:7]}, there=path is not None)


def utt_of(wav: str) -> str:
    """Raises `SpeechrepError` for a path of another form."""
    match = WAV.fullmatch(wav)
    if not match:
        raise SpeechrepError(f"'{wav}' is not a file of VoxCeleb1", "idNNNNN/VIDEO/NNNNN.wav, the names of its version 1.1",
                             "take the wav files and lists of today's release")
    return "-".join(match.groups())


def find_list(root: Path, *names: str) -> Path:
    """One of the lists, in the corpus or its folder meta. Raises `SpeechrepError` where there is none."""
    for name in names:
        for folder in (root, root / "meta"):
            if (folder / name).is_file():
                return folder / name
    raise SpeechrepError(f"{root}: no {' or '.join(names)}", "the list, there or in meta/",
                         f"https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/{names[-1]}")


if __name__ == "__main__":
    main()
