"""When each phone is said: forced alignment trained on the corpus itself, or imported from TextGrids.

Trains on the first data folder (stream `phones`), aligns all of them and writes the stream `ali`: phones and silences
with their end times in seconds. Utterances whose text does not fit their audio are left out and listed in
EXP/rejected.tsv.
"""


def add_arguments(parser):
    parser.add_argument("data", nargs="+", help="data folders; the aligner is trained on the first")
    parser.add_argument("--exp", default="exp/align", help="for model, logs and rejected.tsv (default: %(default)s)")
    parser.add_argument("--nj", type=int, default=2, help="parallel jobs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--conf", help="YAML with fields of AlignConfig, see speechrep/align/model.py")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set one field")
    parser.add_argument("--textgrids", action="store_true", help="write EXP/textgrids/FOLDER/UTT.TextGrid too")
    parser.add_argument("--from-textgrids", metavar="DIR",
                        help="train nothing: phone times from UTT.TextGrid in DIR, by MFA say")
    parser.add_argument("--allow-pipes", action="store_true", help="run commands that stand in wav.scp")


def main(args):
    from speechrep.align import corpus
    from speechrep.align.model import AlignConfig
    from speechrep.config import apply_overrides, build, read_yaml
    from speechrep.data.folder import DataFolder

    folders = [DataFolder(path) for path in args.data]
    if args.from_textgrids:
        for folder in folders:
            count, missing = corpus.import_textgrids(folder, args.from_textgrids)
            print(f"{folder.path}: phone times of {count} utterances"
                  + (f"; {len(missing)} without a TextGrid, such as {missing[0]}" if missing else ""))
        return 0
    values = apply_overrides(read_yaml(args.conf) if args.conf else {}, args.set)
    config = build(AlignConfig, values, args.conf or "align")
    counts = corpus.align_folders(folders, args.exp, config, nj=args.nj, seed=args.seed, textgrids=args.textgrids,
                                  allow_pipes=args.allow_pipes)
    for path, (aligned, rejected) in counts.items():
        print(f"{path}: {aligned} utterances aligned, {rejected} rejected" +
              (f" (see {args.exp}/rejected.tsv)" if rejected else ""))
    return 0
