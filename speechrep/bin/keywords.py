"""Cut keywords from the recordings of a corpus, for the task of keyword spotting (ks).

  speechrep keywords data/train data/dev data/test

Each data folder has `text`, `phones`, `utt2spk` and phone times (`ali.true`, else `ali`). Beside each comes one of single
words, data/keyword_train and so on, with the stream `keyword`: the words that every part says often enough, and others as
`_unknown_`. They hold no audio of their own, but `segments`. The same folders give the same words.
"""

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("parts", type=Path, nargs=3, metavar="DATA", help="data folders of the training part, dev and test")
    parser.add_argument("--count", type=int, default=40, help="so many keywords, at the most (default: %(default)s)")
    parser.add_argument("--least", type=int, nargs=3, default=(10, 2, 2), metavar="N",
                        help="how often training part, dev and test each say a keyword (default: 10 2 2)")


def main(args):
    from collections import Counter

    from speechrep.data.folder import DataFolder
    from speechrep.data.keywords import keyword_folders
    outs = [path.with_name(f"keyword_{path.name}") for path in args.parts]
    for folder in keyword_folders([DataFolder(path) for path in args.parts], outs, args.count, args.least):
        counts = Counter(folder.read("keyword").values())
        print(f"{folder.path}: {', '.join(f'{word} {count}' for word, count in sorted(counts.items()))}")
