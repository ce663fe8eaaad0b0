#!/usr/bin/env python
"""Stage 2: English words beside judgements of how much they have to do with each other, data/semantic_{dev,test}.

Usage: local/semantic.py DATA_DIR        (behind the alignment)

The judgements are those of relatedness.tsv, of pairs of words that the part holds both of; a word is compared with another
whoever says it.
"""

import argparse
import sys
from pathlib import Path

from speechrep.data.folder import DataFolder
from speechrep.data.semantic import read_judgements, semantic_folders
from speechrep.data.words import tokens_of
from speechrep.errors import SpeechrepError

LANG = "en"
TYPE = "recorded"
"""What stands for the benchmark's `synthetic` and `librispeech`."""
MIN_PHONES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data_dir", type=Path, help="where dev and test are, for example data")
    args = parser.parse_args()
    try:
        parts = [DataFolder(args.data_dir / part) for part in ("dev", "test")]
        tokens = [{token.key: (token.word, token.piece) for token in tokens_of(part, MIN_PHONES) if token.lang == LANG}
                  for part in parts]
        judged = read_judgements(Path(__file__).with_name("relatedness.tsv"))
        made = semantic_folders(parts, tokens, judged, TYPE, "voices", voices=False)
    except SpeechrepError as error:
        sys.exit(f"error: {error}")
    for folder in made:
        pairs = len((folder.path / "pairs.csv").read_text(encoding="utf-8").splitlines()) - 1
        print(f"{folder.path}: {len(folder.utts)} words, {pairs} pairs")
    if not made:
        print(f"{args.data_dir}/semantic_*: not made, the corpus holds too few of the pairs of words that were judged")


if __name__ == "__main__":
    main()
