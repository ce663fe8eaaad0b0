#!/usr/bin/env python
"""Stage 1, for tasks that want more than the corpora: slots in what is said, and voices with another pitch and tempo.

Usage: local/derive.py [--nj N] DATA_DIR        (behind local/prepare.py)
"""

import argparse
import sys
from pathlib import Path

from emotion import emotion_folder
from slots import mark_slots
from speechrep.data.folder import DataFolder, write_table
from speechrep.errors import SpeechrepError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data_dir", type=Path, help="where train, dev and test are, for example data")
    parser.add_argument("--nj", type=int, default=2, help="parallel jobs, a voice each (default: %(default)s)")
    args = parser.parse_args()
    try:
        derive(args.data_dir, args.nj)
    except SpeechrepError as error:
        sys.exit(f"error: {error}")


def derive(data_dir: Path, nj: int) -> None:
    """Make all of it; where emotions cannot be made, that is said. Raises `SpeechrepError` if the corpus is not prepared."""
    for part in ("train", "dev", "test"):
        folder = DataFolder(data_dir / part)
        langs = folder.read("utt2lang")
        slots = {utt: marked for utt, text in folder.read("text").items() if (marked := mark_slots(text, langs[utt]))}
        write_table(folder.path / "slots", slots)
        print(f"{folder.path}/slots: {len(slots)} utterances name a colour or a number")
    try:
        made = emotion_folder(DataFolder(data_dir / "train"), data_dir, nj)
    except SpeechrepError as error:
        print(f"{data_dir}/emotion: not made: {error}", file=sys.stderr)
        return
    print(f"{made.path}: {len(made.utts)} utterances, {len(set(made.read('utt2session').values()))} sessions, "
          f"{sum(made.seconds.values()) / 60:.1f} min")


if __name__ == "__main__":
    main()
