#!/usr/bin/env python
"""Stage 1: Fluent Speech Commands as published -> data folders train, dev and test with the stream `intent`.

Usage: local/prepare.py [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds data/{train,valid,test}_data.csv and wavs/speakers/SPEAKER/NAME.wav, or a folder
fluent_speech_commands_dataset with both. An intent is "action|object|location", as the three columns have it.
"""

import csv
from pathlib import Path

from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare
from speechrep.data.text.normalise import normalise
from speechrep.errors import SpeechrepError

PARTS = {"train": "train", "dev": "valid", "test": "test"}
PUBLISHED = {"train": {"utterances": 23132, "speakers": 77, "intent": 31}, "dev": {"utterances": 3118, "speakers": 10},
             "test": {"utterances": 3793, "speakers": 10}}
"""Utterances: the card of s3prl/superb on the Hugging Face Hub, `ic`. Intents, and 97 speakers in all: the card of
speechbrain/slu-direct-fluent-speech-commands-librispeech-asr there. Speakers of each part: the paper's table 1, recalled."""
SOURCE = "Lugosch et al. 2019, table 1; the card of s3prl/superb"
COLUMNS = ("path", "speakerId", "transcription", "action", "object", "location")


def prepare(corpus_dir: Path, data_dir: Path, partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` for another layout and, unless `partial`, an incomplete corpus."""
    root = find_folder(corpus_dir, "data/train_data.csv", ["fluent_speech_commands_dataset"])
    corpus = Corpus("Fluent Speech Commands", data_dir, partial)
    for part, name in PARTS.items():
        for row in read_rows(root / f"data/{name}_data.csv"):
            path = root / row["path"]
            corpus.add(part, f"{row['speakerId']}_{path.stem}", path, {
                "utt2spk": row["speakerId"], "utt2lang": "en", "text": normalise(row["transcription"], "en"),
                "intent": "|".join(row[slot].strip() for slot in ("action", "object", "location"))})
    corpus.write(PUBLISHED, SOURCE)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a part's table, by column. Raises `SpeechrepError` for a missing file, column or value."""
    lines = read_lines(path, "the table of a part")
    rows = list(csv.DictReader(lines))
    for number, row in enumerate(rows, 2):
        lacking = [column for column in COLUMNS if not (row.get(column) or "").strip()]
        if lacking:
            raise SpeechrepError(f"{path}: line {number} has no {', '.join(lacking)}", f"the columns {', '.join(COLUMNS)}",
                                 "fetch it again")
    return rows


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__))
