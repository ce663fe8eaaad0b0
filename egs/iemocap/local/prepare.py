#!/usr/bin/env python
"""Stage 1: IEMOCAP as published -> data/emotion with the streams `emotion` and `utt2session`.

Usage: local/prepare.py [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds Session1 ... Session5, or a folder IEMOCAP_full_release with them; of each sentences/wav/DIALOG/TURN.wav and
dialog/EmoEvaluation/DIALOG.txt are read. All turns lie in one folder: the task `er` leaves a session out by `utt2session`.
"""

import re
from collections import Counter
from pathlib import Path

from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare
from speechrep.errors import SpeechrepError

CLASSES = {"neu": "neutral", "hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad"}
"""The four of SUPERB; excitement counts as happiness."""

PUBLISHED = {"emotion": {"utterances": 5531, "speakers": 10, "emotion": 4, "utt2session": 5}}
BY_SESSION = {"Session1": 1085, "Session2": 1023, "Session3": 1151, "Session4": 1031, "Session5": 1241}
BY_CLASS = {"happy": 1636, "sad": 1084, "angry": 1103, "neutral": 1708}
"""By session: the card of s3prl/superb on the Hugging Face Hub, `er`. By class: FlagEval's page of the corpus
(flageval.baai.ac.cn/docs), with 595 happy and 1041 excited."""
SOURCE = "s3prl/superb, er; 595 happy + 1041 excited, 1084 sad, 1103 angry, 1708 neutral"

TURN = re.compile(r"\[[\d.]+ - [\d.]+\]\t(Ses0[1-5][FM]_\w+_[FM]\w+)\t(\w+)\t\[.*\]")
"""A turn in an evaluation: `[6.2901 - 8.2357]`, its name, the label most agreed on, valence, activation, dominance."""


def prepare(corpus_dir: Path, data_dir: Path, partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` for another layout and, unless `partial`, an incomplete corpus."""
    root = find_folder(corpus_dir, "Session1", ["IEMOCAP_full_release", "IEMOCAP"])
    corpus = Corpus("IEMOCAP", data_dir, partial)
    labels: Counter[str] = Counter()
    for session in BY_SESSION:
        for turn, label in read_turns(root / session / "dialog/EmoEvaluation"):
            if label not in CLASSES:
                corpus.leave_out(turn, f"another emotion, or none agreed on: {label}")
                continue
            labels.update([session, CLASSES[label]])
            dialog, _, last = turn.rpartition("_")
            # F and M after the session say who wears the markers, the turn's own letter who speaks.
            corpus.add("emotion", turn, root / session / "sentences/wav" / dialog / f"{turn}.wav", {
                "utt2spk": f"{turn[:5]}{last[0]}", "utt2lang": "en", "utt2session": session, "emotion": CLASSES[label]})
    wanted = BY_CLASS | BY_SESSION
    differences = [f"{labels[name]} turns of {name} instead of {count}" for name, count in wanted.items()
                   if labels[name] != count]
    if differences:
        corpus.complain("; ".join(differences), f"the turns of four classes that are known ({SOURCE})")
    corpus.write(PUBLISHED, SOURCE)


def read_turns(folder: Path) -> list[tuple[str, str]]:
    """(turn, label) of all dialogues in a folder, sorted. Raises `SpeechrepError` for lines of another form."""
    turns = []
    for path in sorted(folder.glob("Ses*.txt")):
        for line in read_lines(path, "the evaluation of a dialogue"):
            # Each turn begins with its times; the other lines are what each judge said.
            if re.match(r"\[\d", line):
                match = TURN.fullmatch(line)
                if not match:
                    raise SpeechrepError(f"{path}: '{line[:80]}'", "[START - END] TAB turn TAB emotion TAB [V, A, D]",
                                         "fetch it again")
                turns.append((match[1], match[2]))
    return sorted(turns)


if __name__ == "__main__":
    run_prepare(prepare, corpus_parser(__doc__))
