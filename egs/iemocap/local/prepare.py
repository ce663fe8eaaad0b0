#!/usr/bin/env python
"""Stage 1: IEMOCAP as published -> data/all and five folds, with the streams `emotion` and `utt2session`.

Usage: local/prepare.py [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds Session1 ... Session5, or a folder IEMOCAP_full_release with them; of each sentences/wav/DIALOG/TURN.wav and
dialog/EmoEvaluation/DIALOG.txt are read. DATA_DIR/fold1 ... fold5 hold train, dev and test: fold N is tested on session N;
a fifth of the other sessions is dev, drawn by a hash of the turns' names.
"""

import hashlib
import re
from collections import Counter
from pathlib import Path

from speechrep.data.corpus import FETCH, Corpus, corpus_parser, find_folder, read_lines, run_prepare
from speechrep.errors import SpeechrepError

CLASSES = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
"""The four of SUPERB; excitement counts as happiness."""

PUBLISHED = {"all": {"utterances": 5531, "speakers": 10, "emotion": 4, "utt2session": 5}} | {
    f"fold{session}/test": {"utterances": count, "speakers": 2}
    for session, count in enumerate((1085, 1023, 1151, 1031, 1241), 1)}
BY_CLASS = {"happy": 1636, "sad": 1084, "angry": 1103, "neutral": 1708}
SOURCE = "the usual four-class subset: 595 happy + 1041 excited, 1084 sad, 1103 angry, 1708 neutral"

SESSIONS = 5
DEV_SHARE = 0.2
TURN = re.compile(r"\[[\d.]+ - [\d.]+\]\t(Ses0[1-5][FM]_\w+_[FM]\w+)\t(\w+)\t\[.*\]")
"""A turn in an evaluation: `[6.2901 - 8.2357]`, its name, the label most agreed on, valence, activation, dominance."""


def prepare(corpus_dir: Path, data_dir: Path, partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` for another layout and, unless `partial`, an incomplete corpus."""
    root = find_folder(corpus_dir, "Session1", ["IEMOCAP_full_release", "IEMOCAP"])
    corpus = Corpus("IEMOCAP", data_dir, partial)
    labels: Counter[str] = Counter()
    for session in range(1, SESSIONS + 1):
        for turn, label in read_turns(root / f"Session{session}/dialog/EmoEvaluation", session):
            if label not in CLASSES:
                corpus.leave_out(turn, f"another emotion, or none agreed on: {label}")
                continue
            labels[CLASSES[label]] += 1
            dialog, _, last = turn.rpartition("_")
            path = root / f"Session{session}/sentences/wav/{dialog}/{turn}.wav"
            # F and M after the session say who wears the markers, the turn's own letter who speaks.
            streams = {"utt2spk": f"{turn[:5]}{last[0]}", "utt2lang": "en", "utt2session": f"Session{session}",
                       "emotion": CLASSES[label]}
            if corpus.add("all", turn, path, streams):
                for fold in range(1, SESSIONS + 1):
                    part = "test" if fold == session else "dev" if is_dev(turn) else "train"
                    corpus.add(f"fold{fold}/{part}", turn, path, streams, there=True)
    if labels != Counter(BY_CLASS) and not partial:
        raise SpeechrepError(f"{root}: of the classes {dict(sorted(labels.items()))}",
                             f"{dict(sorted(BY_CLASS.items()))} ({SOURCE})", FETCH)
    corpus.write(PUBLISHED, SOURCE)


def read_turns(folder: Path, session: int) -> list[tuple[str, str]]:
    """(turn, label) of all dialogues of a session, sorted. Raises `SpeechrepError` for lines of another form."""
    turns = []
    for path in sorted(folder.glob("Ses*.txt")):
        for line in read_lines(path, f"an evaluation of session {session}"):
            # Each turn begins with its times; the other lines are what each judge said.
            if re.match(r"\[\d", line):
                match = TURN.fullmatch(line)
                if not match:
                    raise SpeechrepError(f"{path}: '{line[:80]}'", "[START - END] TAB turn TAB emotion TAB [V, A, D]",
                                         "fetch it again")
                turns.append((match[1], match[2]))
    return sorted(turns)


def is_dev(turn: str) -> bool:
    """Whether a turn of a training session is kept for choosing, the same in each fold."""
    return int(hashlib.sha256(turn.encode()).hexdigest()[:8], 16) / 2**32 < DEV_SHARE


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__))
