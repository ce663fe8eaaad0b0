"""Write the features of any layers of an upstream into ark files, which later stages then read.

  speechrep extract --upstream exp/hubert/best.pt --layers 0,3,-1 --train data/train --dump dump data/train data/test

A layer's features are found under a digest of all that made them, so they are never stale; those that are there are
left alone. Prints the folder of each part and layer.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `speechrep extract`."""
    parser.add_argument("parts", nargs="+", type=Path, metavar="DATA", help="data folders")
    parser.add_argument("--upstream", required=True, metavar="SPEC", help="a checkpoint, random:CHECKPOINT, or the "
                        "folder of a released model")
    parser.add_argument("--layers", default="-1", help="numbers from 0, or from the end if negative, separated by "
                        "commas; or all (default: the last)")
    parser.add_argument("--mean", action="store_true", help="the mean over the frames of each utterance, a row each, in "
                        "place of the frames")
    parser.add_argument("--train", type=Path, required=True, help="the training part's data folder")
    parser.add_argument("--dump", type=Path, required=True, help="folder of dumped features: KIND/PART")
    parser.add_argument("--cache", type=Path, default=Path("dump/layers"), help="where to write (%(default)s)")
    parser.add_argument("--nj", type=int, default=1, help="jobs at a time (default: 1)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one")


def main(args: argparse.Namespace) -> None:
    """Run `speechrep extract`."""
    from speechrep.data.folder import DataFolder
    from speechrep.errors import SpeechrepError
    from speechrep.extract import extract, layer_folder, layer_number, open_upstream
    from speechrep.upstream import FEATURES
    train = DataFolder(args.train)
    upstream = open_upstream(args.upstream, train, args.dump)
    if args.upstream in FEATURES:
        raise SpeechrepError(f"--upstream {args.upstream}", "a checkpoint or a released model",
                             "plain features are in ark files already: speechrep dump")
    try:
        wanted = range(len(upstream.dims)) if args.layers == "all" else [int(word) for word in args.layers.split(",")]
    except ValueError:
        raise SpeechrepError(f"--layers {args.layers}", "all, or numbers separated by commas") from None
    layers = [layer_number(upstream, layer) for layer in wanted]
    for path in args.parts:
        folder = DataFolder(path)
        extract(args.upstream, folder, train, args.dump, args.cache, layers, args.nj, args.device, mean=args.mean)
        for layer in layers:
            print(layer_folder(args.cache, upstream, folder, train, args.dump, layer, args.mean))
