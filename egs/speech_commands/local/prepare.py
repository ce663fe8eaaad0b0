#!/usr/bin/env python
"""Stage 1: Speech Commands -> the data folders train, dev, test and test_list.

Usage: local/prepare.py [--version 1|2] [--classes superb|words] [--partial] CORPUS_DIR DATA_DIR

CORPUS_DIR holds speech_commands_v0.01 and speech_commands_test_set_v0.01 (or v0.02), each an unpacked archive. With the
twelve classes of SUPERB, `dev` is validation_list.txt, `test` the separate test archive, `test_list` testing_list.txt and
`train` the rest; with all words as classes, `test` is testing_list.txt. Streams: `keyword` (the class), `word` (what is
said, not for silence), utt2spk and utt2lang.
"""

import re
from pathlib import Path

from speechrep.data.audio import header
from speechrep.data.corpus import Corpus, corpus_parser, find_folder, read_lines, run_prepare
from speechrep.errors import SpeechrepError

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
"""The ten words of SUPERB's task and of the test archive; every other word is _unknown_."""

LISTS = {"validation_list.txt": "dev", "testing_list.txt": "test_list"}

WORDS = {1: {"train": 51088, "dev": 6798, "test_list": 6835}, 2: {"train": 84843, "dev": 9981, "test_list": 11005}}
"""Words, without silence. The paper gives 64,727 files for version 1, six of them background noise, and 105,829 words for 2;
the splits follow from google/speech_commands on the Hugging Face Hub, which counts five noise files with train and one with dev
(51,093 and 6,799 of version 1). The card of s3prl/superb there counts all six with train (51,094 and 6,798)."""

TEST = {1: 3081, 2: 4890}
"""Files of the test archive, by the same card."""

DISTINCT = {1: 30, 2: 35}
"""Distinct words, by the paper."""

NOISES = 6
"""Files of background noise."""

SOURCE = "Warden 2018, arXiv 1804.03209; google/speech_commands"

NAME = re.compile(r"([0-9a-f]{8})_nohash_(\d+)")


def main() -> None:
    parser = corpus_parser(__doc__)
    parser.add_argument("--version", type=int, choices=(1, 2), default=1, help="of the corpus (default: %(default)s)")
    parser.add_argument("--classes", choices=("superb", "words"), default="superb",
                        help="twelve classes, or a class for each word (default: %(default)s)")
    run_prepare(prepare, parser)


def prepare(corpus_dir: Path, data_dir: Path, version: int = 1, classes: str = "superb", partial: bool = False) -> None:
    """Make the data folders. Raises `SpeechrepError` if the corpus is not there, or incomplete without `partial`."""
    superb = classes == "superb"
    root = find_folder(corpus_dir, "validation_list.txt", [f"speech_commands_v0.0{version}"])
    corpus = Corpus(f"Speech Commands v0.0{version}", data_dir, partial)
    for part, path in words_of(root, corpus):
        word = path.parent.name
        keyword = word if not superb or word in KEYWORDS else "_unknown_"
        add_word(corpus, part if superb or part != "test_list" else "test", path, keyword, word)
    published = {part if superb or part != "test_list" else "test": {"lines of word": number}
                 for part, number in WORDS[version].items()}
    published["train"]["word"] = DISTINCT[version]
    if superb:
        add_silences(corpus, root / "_background_noise_")
        add_test(corpus, find_folder(corpus_dir, "_silence_", [f"speech_commands_test_set_v0.0{version}"]))
        published["test"] = {"utterances": TEST[version], "keyword": len(KEYWORDS) + 2}
    else:
        corpus.drop("test_list")
    corpus.write(published, SOURCE)


def words_of(root: Path, corpus: Corpus) -> list[tuple[str, Path]]:
    """(part, file) of every word of the corpus. A file of a list that is not there is left to `Corpus.add`.

    Raises `SpeechrepError` for a list that is missing, and for a file that both lists name.
    """
    parts: dict[str, str] = {}
    for name, part in LISTS.items():
        for line in read_lines(root / name, "the files of a part, one a line"):
            if parts.setdefault(line, part) != part:
                raise SpeechrepError(f"{root / name}: {line} is in {parts[line]} too", "each file in one list",
                                     "fetch the corpus again")
    found = {f"{path.parent.name}/{path.name}": path for path in root.glob("[a-z]*/*.wav")}
    rows = [(parts.get(name, "train"), path) for name, path in sorted(found.items())]
    return rows + [(part, root / name) for name, part in sorted(parts.items()) if name not in found]


def add_word(corpus: Corpus, part: str, path: Path, keyword: str, word: str) -> None:
    """A recording SPEAKER_nohash_N.wav. Raises `SpeechrepError` for another name."""
    match = NAME.fullmatch(path.stem)
    if not match:
        raise SpeechrepError(f"{path}: not a name of this corpus", "SPEAKER_nohash_N.wav, the speaker as eight of 0-9a-f",
                             "look for files that do not belong to the corpus")
    streams = {"keyword": keyword, "utt2spk": match[1], "utt2lang": "en"}
    if word:
        streams["word"] = word
    corpus.add(part, f"{match[1]}_{path.parent.name.strip('_')}_{match[2]}", path, streams)


def add_silences(corpus: Corpus, folder: Path) -> None:
    """_silence_: whole seconds of the background noises; of each file the first eight tenths to train, the next to dev, the
    last to test_list, so that no part hears another's noise. (SUPERB draws seconds of the same six files for train and dev.)
    """
    noises = sorted(folder.glob("*.wav"))
    if len(noises) != NOISES:
        corpus.complain(f"{folder} has {len(noises)} sound files instead of {NOISES}", "the background noises")
    for noise in noises:
        rate_hz, samples, _ = header(noise)
        seconds = samples // rate_hz
        for second in range(seconds):
            place = second / seconds
            part = "train" if place < 0.8 else "dev" if place < 0.9 else "test_list"
            corpus.add(part, f"silence_{noise.stem}_{second:03d}", noise,
                       {"keyword": "_silence_", "utt2spk": f"silence_{noise.stem}", "utt2lang": "en"},
                       segment=(f"silence_{noise.stem}", second, second + 1))


def add_test(corpus: Corpus, root: Path) -> None:
    """The test archive: a folder for each of the twelve classes. What word an _unknown_ is, it does not say."""
    for keyword in (*KEYWORDS, "_silence_", "_unknown_"):
        sounds = sorted((root / keyword).glob("*.wav"))
        if not sounds:
            corpus.complain(f"{root / keyword}: no sound files", "the test archive as published")
        for path in sounds:
            if keyword == "_silence_":
                corpus.add("test", f"silence_{path.stem}", path, {"keyword": keyword, "utt2spk": f"silence_{path.stem}",
                                                                 "utt2lang": "en"})
            else:
                add_word(corpus, "test", path, keyword, keyword if keyword in KEYWORDS else "")


if __name__ == "__main__":
    main()
