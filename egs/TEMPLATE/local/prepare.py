#!/usr/bin/env python
"""Stage 1: a folder of <speaker>/<utt>.wav with <utt>.txt beside it -> the data folders train, dev and test.

Usage: local/prepare.py [--lang en] CORPUS_DIR DATA_DIR

This is the one file of a recipe that knows the corpus: it finds the recordings, what is said in them and by whom, and
writes that as Kaldi data folders. Recordings without a text are listed in DATA_DIR/left_out.tsv. Which part an
utterance goes to depends on its text alone, so no text of test or dev is in train, and it is the same on every machine.
"""

import argparse
import hashlib
import sys
from pathlib import Path

from speechrep.data.folder import write_folder
from speechrep.data.text.normalise import normalise
from speechrep.errors import SpeechrepError
from speechrep.files import write_text

TEST_SHARE, DEV_SHARE = 0.10, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus_dir", type=Path, help="<speaker>/<utt>.wav and <utt>.txt")
    parser.add_argument("data_dir", type=Path, help="where train, dev and test go")
    parser.add_argument("--lang", default="en", help="language of the texts, ISO 639-1 (default: en)")
    args = parser.parse_args()
    try:
        prepare(args.corpus_dir, args.data_dir, args.lang)
    except SpeechrepError as error:
        sys.exit(f"error: {error}")


def prepare(corpus_dir: Path, data_dir: Path, lang: str) -> None:
    """Make the data folders. Raises `SpeechrepError` if there is nothing to make them of."""
    parts: dict[str, dict[str, dict[str, str]]] = {
        part: {"wav.scp": {}, "text": {}, "utt2spk": {}, "utt2lang": {}} for part in ("train", "dev", "test")}
    left_out = []
    for wav in sorted(corpus_dir.glob("*/*.wav")):
        speaker, utt = wav.parent.name, f"{wav.parent.name}_{wav.stem}"
        text, why = read_text(wav.with_suffix(".txt"), lang)
        if why:
            left_out.append(f"{utt}\t{why}\n")
            continue
        streams = parts[part_of(text)]
        streams["wav.scp"][utt] = str(wav)
        streams["text"][utt] = text
        streams["utt2spk"][utt] = speaker
        streams["utt2lang"][utt] = lang
    for part, streams in parts.items():
        if not streams["wav.scp"]:
            raise SpeechrepError(f"{corpus_dir}: no recordings for {part}", "<speaker>/<utt>.wav and <utt>.txt, 60 or more",
                                 "look at --corpus; in a small corpus change TEST_SHARE and DEV_SHARE in local/prepare.py")
        write_folder(data_dir / part, streams)
        print(f"{data_dir / part}: {len(streams['wav.scp'])} utterances of {len(set(streams['utt2spk'].values()))} speakers")
    write_text(data_dir / "left_out.tsv", "".join(left_out))
    if left_out:
        print(f"{len(left_out)} recordings left out, see {data_dir / 'left_out.tsv'}")


def read_text(path: Path, lang: str) -> tuple[str, str]:
    """The words in a transcript, and, if there are none, why."""
    try:
        text = normalise(path.read_text(encoding="utf-8"), lang)
    except FileNotFoundError:
        return "", f"no {path.name} beside it"
    except UnicodeDecodeError:
        return "", f"{path.name} is not UTF-8"
    except SpeechrepError as error:
        return "", error.found
    return text, "" if text else f"nothing to say in {path.name}"


def part_of(text: str) -> str:
    """train, dev or test, by the text alone."""
    place = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
    return "test" if place < TEST_SHARE else "dev" if place < TEST_SHARE + DEV_SHARE else "train"


if __name__ == "__main__":
    main()
