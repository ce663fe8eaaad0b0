#!/usr/bin/env python
"""Stage 1: the phonetic and semantic parts of ZeroSpeech 2021 as published -> data folders to be scored without training.

Usage: local/prepare.py [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds phonetic/{dev,test}-{clean,other}/*.wav with {dev,test}-{clean,other}.item beside the folders, and
semantic/{dev,test}/{librispeech,synthetic}/*.wav with gold.csv and pairs.csv. Of test the challenge's archive has the sound
only; where its .item, gold.csv and pairs.csv are there (the later archive sLM21), they are prepared too.

Written are DATA_DIR/phonetic_dev_clean ... with a copy of the item file as items.item, whose first column names the
utterances; and DATA_DIR/semantic_dev, semantic_test with copies of gold.csv and pairs.csv, the utterances
librispeech_NAME and synthetic_NAME, and the streams `text` (the word) and `corpus` (librispeech or synthetic).
"""

import csv
from pathlib import Path

from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare, split_fields
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

ITEM_HEADER = "#file onset offset #phone prev-phone next-phone speaker"
PHONETIC = ("dev-clean", "dev-other", "test-clean", "test-other")
KINDS = ("librispeech", "synthetic")
GOLD, PAIRS = ("filename", "type", "word"), ("type", "dataset", "word_1", "word_2")
PUBLISHED = {"phonetic_dev_clean": {"utterances": 2703}, "phonetic_dev_other": {"utterances": 2864},
             "phonetic_test_clean": {"utterances": 2620}, "phonetic_test_other": {"utterances": 2939}}
"""Of LibriSpeech's parts, as the sentences (#Snt) that MiniASR's egs/librispeech scores, and, of dev-clean and test-clean, the
card of s3prl/superb on the Hugging Face Hub (`asr`)."""
SOURCE = "the dev and test parts of LibriSpeech, which they are; of the semantic part no counts are published"


def prepare(corpus_dir: Path, data_dir: Path, partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` for another layout and, unless `partial`, an incomplete corpus."""
    root = find_folder(corpus_dir, "phonetic", ["zerospeech2021_dataset", "sLM21-dataset"])
    corpus = Corpus("ZeroSpeech 2021", data_dir, partial)
    labels: dict[Path, str] = {}
    for name in PHONETIC:
        part = f"phonetic_{name.replace('-', '_')}"
        items = root / f"phonetic/{name}.item"
        if items.exists() or name.startswith("dev"):
            labels[data_dir / part / "items.item"] = add_items(corpus, part, items, root / "phonetic" / name)
        add_sounds(corpus, part, root / "phonetic" / name)
    for name in ("dev", "test"):
        folder = root / "semantic" / name
        if (folder / "gold.csv").exists() or name == "dev":
            add_words(corpus, f"semantic_{name}", folder)
            for table in ("gold.csv", "pairs.csv"):
                labels[data_dir / f"semantic_{name}" / table] = (folder / table).read_text(encoding="utf-8")
        else:
            for kind in KINDS:
                add_sounds(corpus, f"semantic_{name}", folder / kind, f"{kind}_", {"corpus": kind})
    corpus.write({part: counts for part, counts in PUBLISHED.items() if part in corpus.streams}, SOURCE)
    for path, text in labels.items():
        write_text(path, text)


def add_sounds(corpus: Corpus, part: str, folder: Path, prefix: str = "", streams: dict[str, str] | None = None) -> None:
    """The sound files of a folder that no table has named yet; their speakers are not known."""
    known = corpus.utts(part)
    for path in sorted(folder.glob("*.wav")):
        if f"{prefix}{path.stem}" not in known:
            corpus.add(part, f"{prefix}{path.stem}", path, {"utt2lang": "en"} | (streams or {}), there=True)


def add_items(corpus: Corpus, part: str, path: Path, folder: Path) -> str:
    """The utterances that an item file names; returns its text. Raises `SpeechrepError` for lines of another form, times
    that run backwards, and a file of two speakers."""
    if read_lines(path, "the items of the ABX test")[0] != ITEM_HEADER:
        raise SpeechrepError(f"{path}: another first line", f"'{ITEM_HEADER}'", "fetch it again")
    rows = split_fields(path, "an item file", len(ITEM_HEADER.split()))
    speakers: dict[str, str] = {}
    for file, onset, offset, *_, speaker in rows[1:]:
        try:
            in_order = 0 <= float(onset) < float(offset)
        except ValueError:
            in_order = False
        if not in_order or speakers.setdefault(file, speaker) != speaker:
            raise SpeechrepError(f"{path}: {file} {onset} {offset} ... {speaker}",
                                 "onset before offset, in seconds, and one speaker a file", "fetch it again")
    for file, speaker in speakers.items():
        corpus.add(part, file, folder / f"{file}.wav", {"utt2spk": speaker, "utt2lang": "en"})
    return path.read_text(encoding="utf-8")


def add_words(corpus: Corpus, part: str, folder: Path) -> None:
    """The words that gold.csv names. Raises `SpeechrepError` for missing columns, and pairs of words without a sound."""
    said: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for row in read_rows(folder / "gold.csv", GOLD):
        kind, file, word = row["type"], row["filename"].removesuffix(".wav"), row["word"]
        if kind not in KINDS:
            raise SpeechrepError(f"{folder}/gold.csv: {file}: the type '{kind}'", " or ".join(KINDS), "fetch it again")
        # Synthetic words are said by several voices, of which a file has one; a word of LibriSpeech has no speaker here.
        speaker = row.get("voice") or f"{kind}_{file}"
        corpus.add(part, f"{kind}_{file}", folder / kind / f"{file}.wav", {
            "utt2spk": speaker, "utt2lang": "en", "text": word.lower(), "corpus": kind})
        said[kind].add(word)
    for row in read_rows(folder / "pairs.csv", PAIRS):
        for word in (row["word_1"], row["word_2"]):
            if word not in said.get(row["type"], ()):
                raise SpeechrepError(f"{folder}/pairs.csv: '{word}' in {row['type']}", "words of gold.csv",
                                     "fetch both again")


def read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The lines of a table by column. Raises `SpeechrepError` for a missing file, column or value."""
    rows = list(csv.DictReader(read_lines(path, f"a table with the columns {', '.join(columns)}")))
    for number, row in enumerate(rows, 2):
        lacking = [column for column in columns if not row.get(column)]
        if lacking:
            raise SpeechrepError(f"{path}: line {number} has no {', '.join(lacking)}",
                                 f"the columns {', '.join(columns)}", "fetch it again")
    return rows


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__))
