"""Make discrete units of speech by k-means over any layer of an upstream, or from a method's own codes.

  speechrep units --name mfcc100 --upstream mfcc --set clusters=100 --train data/train --dump dump data/dev data/test
  speechrep units --name hubert500 --upstream exp/hubert/best.pt --set layer=3 --set clusters=500 ...

Fits a codebook on the training part, in memory that does not grow with it, and writes the stream units.NAME into that
part and those named after the options. EXP/NAME holds units.yaml (settings, frame rate), codebook.npz and, for each
part, score.json: phone purity, cluster purity and PNMI against `ali`, of several languages PNMI within each too, what units
tell of the speaker beyond the phone, used codes, inertia. What is finished is left alone.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `speechrep units`."""
    parser.add_argument("parts", nargs="*", type=Path, metavar="DATA", help="other data folders to write units into")
    parser.add_argument("--name", required=True, help="the stream is units.NAME")
    parser.add_argument("--upstream", required=True, metavar="SPEC", help="mfcc, fbank, logmel, a checkpoint, "
                        "random:CHECKPOINT, or the folder of a released model")
    parser.add_argument("--train", type=Path, required=True, help="the data folder that the codebook is fit on")
    parser.add_argument("--dump", type=Path, required=True, help="folder of dumped features: KIND/PART")
    parser.add_argument("--exp", type=Path, default=Path("exp/units"), help="folder of codebooks (%(default)s)")
    parser.add_argument("--cache", type=Path, default=Path("dump/layers"), help="folder of extracted features "
                        "(%(default)s)")
    parser.add_argument("--conf", type=Path, metavar="YAML", help="settings (speechrep.units.UnitsConfig)")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="lay a value over --conf")
    parser.add_argument("--nj", type=int, default=1, help="jobs at a time (default: 1)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one")
    parser.add_argument("--clean", action="store_true", help="remove the features extracted for it in the end")


def main(args: argparse.Namespace) -> None:
    """Run `speechrep units`."""
    from speechrep.config import apply_overrides, build, read_yaml
    from speechrep.units import UnitsConfig, make_units
    settings = apply_overrides(read_yaml(args.conf) if args.conf else {}, args.set)
    config = build(UnitsConfig, settings, where=str(args.conf or "--set"))
    make_units(args.name, args.upstream, config, args.train, args.parts, args.dump, args.exp / args.name, args.cache,
               args.nj, args.device, args.clean)
