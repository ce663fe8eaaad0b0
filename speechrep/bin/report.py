"""Show an experiment folder as one HTML page: tables, plots, audio to listen to.

The page is one file that needs no network. What has not been made yet is named with the command that makes it.
"""


def add_arguments(parser):
    parser.add_argument("--exp", default="exp", help="everything trained, decoded and scored (default: %(default)s)")
    parser.add_argument("--data", default="data", help="folder of data folders (default: %(default)s)")
    parser.add_argument("--dump", default="dump", help="folder of dumped features: KIND/PART (default: %(default)s)")
    parser.add_argument("--out", help="folder of the page (default: EXP/report)")
    parser.add_argument("--ctap", help="checkpoint whose joint space is drawn (default: the largest in EXP)")
    parser.add_argument("--part", default="test", help="part of the corpus that is shown (default: %(default)s)")
    parser.add_argument("--title", default="", help="heading of the page")
    parser.add_argument("--credits", action="append", default=[], metavar="FILE",
                        help="text that must go with the corpus's audio, such as its licence; may be repeated")
    parser.add_argument("--frames", type=int, default=2000,
                        help="frames in the map of the joint space (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the frames drawn and of the map")


def main(args):
    from pathlib import Path

    from speechrep.report.page import make_report
    exp = Path(args.exp)
    path = make_report(exp, Path(args.data), Path(args.dump), Path(args.out) if args.out else exp / "report",
                       Path(args.ctap) if args.ctap else None, args.part, args.title, [Path(c) for c in args.credits],
                       args.frames, args.seed)
    print(path)
