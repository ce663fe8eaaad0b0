#!/usr/bin/env python
"""Stage 1, for tasks that want more than the corpus: trials, cut words, pairs of words, emotions.

Usage: local/derive.py DOWNLOADS_DIR DATA_DIR        (behind local/prepare.py)
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from emotion import emotion_folder
from keywords import cut
from semantic import semantic_folders
from speechrep.data.folder import DataFolder
from speechrep.data.trials import make_trials, write_trials
from speechrep.errors import SpeechrepError


HELD_OUT = ("f04", "f05", "m04", "m05")
"""Speakers of the trials of test, whom conf/asv.yaml keeps from training; a corpus without some of them has trials of all."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("downloads_dir", type=Path, help="what stage 0 made")
    parser.add_argument("data_dir", type=Path, help="where train, dev and test are, for example data")
    args = parser.parse_args()
    try:
        derive(args.downloads_dir, args.data_dir)
    except SpeechrepError as error:
        sys.exit(f"error: {error}")


def derive(downloads: Path, data_dir: Path) -> None:
    """Make all of it. Raises `SpeechrepError` if the corpus is not prepared."""
    for part in ("dev", "test"):
        folder = DataFolder(data_dir / part)
        speakers = folder.read("utt2spk")
        if set(HELD_OUT) <= set(speakers.values()):
            speakers = {utt: name for utt, name in speakers.items() if (name in HELD_OUT) == (part == "test")}
        trials = make_trials(speakers, folder.read("utt2lang"), utt2content=folder.read("utt2sentence"))
        write_trials(folder.path / "trials", trials)
        print(f"{folder.path}/trials: {len(trials)}, {sum(target for _, _, target in trials)} of them targets")
    for part in ("train", "dev", "test"):
        words = cut(data_dir, part)
        counts = ", ".join(f"{word} {count}" for word, count in sorted(Counter(words.read("keyword").values()).items()))
        print(f"{words.path}: {counts}")
    semantic = semantic_folders(data_dir)
    print("\n".join(f"{pairs.path}: {len(pairs.utts)} words" for pairs in semantic)
          or f"{data_dir}/semantic_*: not made, the corpus holds too few of the pairs of words that were judged")
    made = emotion_folder(downloads, data_dir)
    print(f"{made.path}: {len(made.utts)} utterances, {len(set(made.read('utt2session').values()))} sessions")


if __name__ == "__main__":
    main()
