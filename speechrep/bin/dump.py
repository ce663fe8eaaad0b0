"""Compute features of a data folder into ark files, by parallel jobs.

Writes OUT/feats.scp (last: where it is, the features are whole), OUT/feats.N.ark, OUT/utt2num_frames and OUT/feats.yaml;
where DATA has been aligned, OUT/durations: frames of each phone, whose sum is exactly the utterance's frames. A second
call with the same settings does nothing; one after an interruption goes on. Paths in feats.scp begin as OUT is given: a
relative OUT is read relative to the working directory, as in Kaldi.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `speechrep dump`."""
    parser.add_argument("data", metavar="DATA", help="data folder, such as data/train")
    parser.add_argument("out", metavar="OUT", help="dump folder, such as dump/logmel/train")
    parser.add_argument("--conf", metavar="YAML", help="feature settings (speechrep.data.features.FeatureConfig)")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="lay a value over --conf")
    parser.add_argument("--nj", type=int, default=1, help="jobs at a time (default: 1)")
    parser.add_argument("--cmvn", action="store_true", help="also write OUT/cmvn.npz: mean, std, frames")
    parser.add_argument("--redo", action="store_true", help="replace features of other settings or data in OUT")
    parser.add_argument("--allow-pipes", action="store_true", help="run the commands that stand in wav.scp")
    parser.add_argument("--log-dir", metavar="DIR", help="logs of the jobs (default: OUT/log)")


def main(args: argparse.Namespace) -> None:
    """Run `speechrep dump`."""
    from speechrep.config import apply_overrides, build, read_yaml
    from speechrep.data.dump import dump
    from speechrep.data.features import FeatureConfig
    settings = apply_overrides(read_yaml(args.conf) if args.conf else {}, args.set)
    config = build(FeatureConfig, settings, where=args.conf or "")
    dump(args.data, args.out, config, nj=args.nj, cmvn=args.cmvn, redo=args.redo, allow_pipes=args.allow_pipes,
         log_dir=args.log_dir)
