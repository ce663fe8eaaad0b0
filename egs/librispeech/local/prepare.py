#!/usr/bin/env python
"""Stage 1: LibriSpeech, and Libri-light's limited training sets -> data folders.

Usage: local/prepare.py [--parts PART,...|all] [--fold N] [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds LibriSpeech/ and, where wanted, librispeech_finetuning/, both as their archives unpack. The train parts
that --parts names go together to `train`; dev-clean, dev-other, test-clean and test-other to `dev`, `dev_other`, `test` and
`test_other`; Libri-light's sets to `train_10min`, `train_1h` and `train_10h`. Streams: wav.scp (the flac files), text in
lower case, utt2spk, utt2lang and spk2gender.
"""

from pathlib import Path

from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare
from speechrep.errors import SpeechrepError

PARTS = {"train-clean-100": "train", "train-clean-360": "train", "train-other-500": "train", "dev-clean": "dev",
         "dev-other": "dev_other", "test-clean": "test", "test-other": "test_other"}
"""Part as published -> data folder."""

UTTERANCES = {"train-clean-100": 28539, "train-clean-360": 104014, "train-other-500": 148688, "dev-clean": 2703,
              "dev-other": 2864, "test-clean": 2620, "test-other": 2939}
"""As the card of openslr/librispeech_asr on the Hugging Face Hub counts them."""

SPEAKERS = {"train-clean-100": 251, "train-clean-360": 921, "train-other-500": 1166, "dev-clean": 40, "dev-other": 33,
            "test-clean": 40, "test-other": 33}
"""Table 1 of Panayotov et al., ICASSP 2015."""

DEFAULT_PARTS = "train-clean-100,dev-clean,dev-other,test-clean,test-other"

FOLDS = 6
"""Ten-minute folds of Libri-light's hour."""

LIMITED_SPEAKERS = {"1h": 2, "9h": 12}
"""Speakers of clean and as many of other speech, in each fold of the hour and in the other nine hours (Libri-light's
data_preparation README)."""

SOURCE = "Panayotov et al., ICASSP 2015, table 1; openslr/librispeech_asr"


def main() -> None:
    parser = corpus_parser(__doc__)
    parser.add_argument("--parts", default=DEFAULT_PARTS, help="parts of LibriSpeech, or all (default: %(default)s)")
    parser.add_argument("--fold", type=int, default=0, choices=range(FOLDS),
                        help="which ten minutes of Libri-light's hour are train_10min (default: %(default)s)")
    run_prepare(prepare, parser)


def prepare(corpus_dir: Path, data_dir: Path, parts: str = DEFAULT_PARTS, fold: int = 0, partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there, or incomplete without `partial`."""
    names = list(PARTS) if parts == "all" else parts.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SpeechrepError(f"--parts {parts}: no part '{unknown[0]}'", f"parts of {', '.join(PARTS)}, or all")
    corpus = Corpus("LibriSpeech", data_dir, partial)
    root = find_folder(corpus_dir, "SPEAKERS.TXT", ["LibriSpeech"])
    speakers = read_speakers(root / "SPEAKERS.TXT")
    published: dict[str, dict[str, int]] = {}
    for name in names:
        if not (root / name).is_dir():
            corpus.complain(f"no folder {root / name}", "every part that --parts names")
            continue
        for transcript in sorted((root / name).glob("*/*/*.trans.txt")):
            add_chapter(corpus, PARTS[name], transcript, speakers, name)
        wanted = published.setdefault(PARTS[name], {"utterances": 0, "speakers": 0})
        wanted["utterances"] += UTTERANCES[name]
        wanted["speakers"] += SPEAKERS[name]
    limited = next((folder for folder in (root.parent, root, corpus_dir)
                    if (folder / "librispeech_finetuning").is_dir()), None)
    if limited:
        add_limited(corpus, limited / "librispeech_finetuning", fold, speakers)
    else:
        print("no folder librispeech_finetuning beside LibriSpeech: no train_10min, train_1h and train_10h")
    corpus.write(published, SOURCE)


def add_limited(corpus: Corpus, root: Path, fold: int, speakers: dict[str, tuple[str, str]]) -> None:
    """Libri-light's sets: `1h` is six folds of ten minutes, and the ten hours are `1h` and `9h`."""
    folders = [root / "1h" / str(number) / kind for number in range(FOLDS) for kind in ("clean", "other")]
    folders += [root / "9h" / kind for kind in ("clean", "other")]
    for folder in folders:
        transcripts = sorted(folder.glob("*/*/*.trans.txt"))
        if not transcripts:
            corpus.complain(f"{folder}: no transcripts", "librispeech_finetuning as published: 1h/0 to 1h/5 and 9h, with "
                            "clean and other each")
        wanted = LIMITED_SPEAKERS[folder.relative_to(root).parts[0]]
        found = len({transcript.parent.parent.name for transcript in transcripts})
        if transcripts and found != wanted:
            corpus.complain(f"{folder}: {found} speaker(s) instead of {wanted}", "as many as Libri-light's README says")
        parts = ["train_10h"]
        if folder.parent.parent.name == "1h":
            parts += ["train_1h"] + (["train_10min"] if folder.parent.name == str(fold) else [])
        for transcript in transcripts:
            for part in parts:
                add_chapter(corpus, part, transcript, speakers)


def add_chapter(corpus: Corpus, part: str, transcript: Path, speakers: dict[str, tuple[str, str]], name: str = "") -> None:
    """The utterances of SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt; `name`: the part that the speaker is to be of."""
    speaker = transcript.parent.parent.name
    gender, home = speakers.get(speaker, ("", ""))
    if not gender or (name and home != name):
        raise SpeechrepError(f"{transcript}: the speaker {speaker} is " + (f"of {home}" if gender else "not in SPEAKERS.TXT"),
                             "the speakers that SPEAKERS.TXT gives each part", "unpack the archives anew")
    sounds = {path.name for path in transcript.parent.glob("*.flac")}
    for line in read_lines(transcript, "a transcript"):
        utt, _, text = line.partition(" ")
        sound = f"{utt}.flac"
        corpus.add(part, utt, transcript.parent / sound, {"text": text.lower(), "utt2spk": speaker, "utt2lang": "en",
                                                          "spk2gender": gender}, there=sound in sounds)
        sounds.discard(sound)
    if sounds:
        corpus.complain(f"{transcript}: {len(sounds)} sound files without a transcript, such as {min(sounds)}",
                        "a line for every sound file")


def read_speakers(path: Path) -> dict[str, tuple[str, str]]:
    """Speaker -> (f or m, part) from the lines `ID | SEX | SUBSET | MINUTES | NAME`; comments begin with `;`."""
    speakers = {}
    for line in read_lines(path, "the list of speakers"):
        if line.startswith(";"):
            continue
        fields = [field.strip() for field in line.split("|", 4)]
        if len(fields) != 5 or fields[1] not in ("F", "M"):
            raise SpeechrepError(f"{path}: '{line[:80]}'", "ID | SEX | SUBSET | MINUTES | NAME", "fetch it again")
        speakers[fields[0]] = (fields[1].lower(), fields[2])
    return speakers


if __name__ == "__main__":
    main()
