"""Cut the silences out of the recordings of a data folder, as SUPERB's reference does where speakers are verified.

  speechrep trim data/verification/train data/trimmed/train --above-sec 2

By sox's `silence`: stretches of a tenth of a second and more below a thousandth of full scale are cut, at the beginning and
within; all 3 dB softer. OUT becomes a data folder with the streams of DATA but those of times; its sound goes to
wav/ beside it. Killed, the same command goes on.
"""

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("data", type=Path, metavar="DATA", help="data folder whose recordings are taken")
    parser.add_argument("out", type=Path, metavar="OUT", help="data folder to write")
    parser.add_argument("--above-sec", type=float, default=0.0, metavar="SEC", help="leave out utterances of which no more "
                        "than so many seconds remain (default: %(default)s)")
    parser.add_argument("--nj", type=int, default=1, help="jobs at a time (default: 1)")


def main(args):
    from speechrep.data.folder import DataFolder
    from speechrep.data.trimmed import trim
    source = DataFolder(args.data)
    made = trim(source, args.out, args.above_sec, args.nj)
    before, after = sum(source.seconds.values()) / 60, sum(made.seconds.values()) / 60
    print(f"{made.path}: {len(made.utts)} of {len(source.utts)} utterances, {after:.1f} of {before:.1f} min")
