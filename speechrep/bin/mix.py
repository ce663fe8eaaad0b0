"""Cut the recordings of a data folder together to conversations of two speakers, for diarisation (the task sd).

DATA has `utt2spk`, `utt2lang`, `text` and phone times (`ali.true`, else `ali`). OUT becomes a data folder of mixtures with
`rttm`, who speaks when; its sound goes to wav/ beside it. The same DATA gives the same mixtures.
"""

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("data", type=Path, metavar="DATA", help="data folder whose recordings are taken")
    parser.add_argument("out", type=Path, metavar="OUT", help="data folder to write, such as data/mix_train")
    parser.add_argument("--every", type=int, default=10, help="a mixture for so many utterances (default: %(default)s)")
    parser.add_argument("--content", default="text", help="the stream that tells whether two utterances say the same "
                        "(default: %(default)s)")
    parser.add_argument("--level", type=float, metavar="DB", help="bring the speech of each recording to this level, RMS "
                        "relative to full scale, such as -26; without, levels are left as they are")


def main(args):
    from speechrep.data.folder import DataFolder
    from speechrep.data.mixtures import mix
    from speechrep.data.rttm import read_turns
    made = mix(DataFolder(args.data), args.out, args.every, args.content, args.level)
    speech = sum(end - start for line in made.read("rttm").values() for _, start, end in read_turns(line))
    print(f"{made.path}: {len(made.utts)} mixtures, {sum(made.seconds.values()) / 60:.1f} min, {speech / 60:.1f} min of "
          "speech")
