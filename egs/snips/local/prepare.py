#!/usr/bin/env python
"""Stage 1: Audio SNIPS as SUPERB has it -> data folders train, dev and test with the streams `slots` and `intent`.

Usage: local/prepare.py [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds all.iob.snips.txt and {train,valid,test}/SPEAKER-snips-PART-NUMBER.wav (or .mp3). A line of the former is
`ID BOS words EOS TAB O tags intent`, a tag a word: O, B-slot or I-slot. `slots` are the words with a slot's value between
`B-slot` and `E-slot`.
"""

import re
import unicodedata
from pathlib import Path

from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare
from speechrep.errors import SpeechrepError

TEXTS = "all.iob.snips.txt"
PARTS = {"train": "train", "dev": "valid", "test": "test"}
SPEAKERS = {"train": "Ivy Joanna Joey Justin Kendra Kimberly Matthew Salli".split(),
            "dev": "Aditi Amy Geraint Nicole".split(), "test": "Brian Emma Raveena Russell".split()}
"""SUPERB's (s3prl, downstream/ctc/snips.yaml): of the 16 voices, which all say everything, none is in two parts."""

PUBLISHED = {"train": {"utterances": 8 * 13084, "speakers": 8, "intent": 7}, "dev": {"utterances": 4 * 700, "speakers": 4},
             "test": {"utterances": 4 * 700, "speakers": 4}}
"""Sentences: FlagEval's page of the corpus (flageval.baai.ac.cn/docs); each is said by every voice of its part."""
SOURCE = "13,084, 700 and 700 sentences, Coucke et al. 2018, by 8, 4 and 4 voices"

LETTERS = str.maketrans({"æ": "a", "ø": "o", "ð": "d", "ł": "l", '"': " "})
"""What has no accent to take off; as s3prl maps them."""

UNSAID = set("?!.,;-")


def prepare(corpus_dir: Path, data_dir: Path, partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` for another layout and, unless `partial`, an incomplete corpus."""
    root = find_folder(corpus_dir, TEXTS, ["SNIPS", "audio_slu"])
    part_of = {(name, speaker): part for part, name in PARTS.items() for speaker in SPEAKERS[part]}
    corpus = Corpus("Audio SNIPS", data_dir, partial)
    there = {path.stem: path for name in PARTS.values() for ending in ("mp3", "wav")
             for path in (root / name).glob(f"*.{ending}")}
    for line in read_lines(root / TEXTS, "the sentences with their slots"):
        utt, words, tags, intent = read_line(line, root / TEXTS)
        match = re.fullmatch(r"([A-Za-z]+)-snips-(train|valid|test)-\d+", utt)
        if not match:
            raise SpeechrepError(f"{root / TEXTS}: the id '{utt}'", "SPEAKER-snips-train|valid|test-NUMBER",
                                 "fetch it again")
        part = part_of.get((match[2], match[1]))
        if part:
            path = there.get(utt, root / match[2] / f"{utt}.wav")
            corpus.add(part, utt, path, {
                "utt2spk": match[1], "utt2lang": "en", "text": " ".join(words), "slots": with_slots(words, tags, utt),
                "intent": intent}, there=utt in there)
    corpus.write(PUBLISHED, SOURCE)


def read_line(line: str, path: Path) -> tuple[str, list[str], list[str], str]:
    """Id, words, a tag for each word, and intent. Raises `SpeechrepError` where they are not as many or BOS, EOS lack."""
    said, tab, tagged = line.partition("\t")
    utt, *words = said.split()
    tags = tagged.split()
    if not tab or len(words) < 2 or words[0] != "BOS" or words[-1] != "EOS" or len(tags) != len(words):
        raise SpeechrepError(f"{path}: {utt}: {len(words)} words from BOS to EOS and {len(tags)} tags",
                             "ID BOS words EOS TAB a tag a word, O for BOS, and the intent", "fetch it again")
    words, tags, intent = words[1:-1], tags[1:-1], tags[-1]
    pairs = [(plain(word), tag) for word, tag in zip(words, tags)]
    return utt, [word for word, _ in pairs if word], [tag for word, tag in pairs if word], intent


def plain(word: str) -> str:
    """A word in small letters without accents and quotation marks, "and" for "&", nothing for a mark that stands alone: as
    SUPERB spells it (s3prl, downstream/ctc/text.py)."""
    if word in UNSAID:
        return ""
    if word == "&":
        return "and"
    small = unicodedata.normalize("NFD", word.lower().translate(LETTERS))
    return "".join(char for char in small if not unicodedata.combining(char)).strip()


def with_slots(words: list[str], tags: list[str], utt: str) -> str:
    """"B-time seven E-time" around each slot's words. Raises `SpeechrepError` for a tag of another form.

    A slot goes on as long as tags are I- of the same name; s3prl's reader does the same.
    """
    tokens, open_slot = [], ""
    for word, tag in zip(words, tags):
        mark, _, slot = tag.partition("-")
        if mark not in ("O", "B", "I") or (mark == "O") != (slot == ""):
            raise SpeechrepError(f"{utt}: the tag '{tag}'", "O, B-slot or I-slot")
        if open_slot and (mark != "I" or slot != open_slot):
            tokens.append(f"E-{open_slot}")
            open_slot = ""
        if slot and not open_slot:
            tokens.append(f"B-{slot}")
            open_slot = slot
        tokens.append(word)
    return " ".join([*tokens, *([f"E-{open_slot}"] if open_slot else [])])


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__))
