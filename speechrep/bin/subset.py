"""List some minutes of one voice of a data folder, the same each time.

The list is for `speechrep pretrain --labelled LIST`: the phones of these utterances may be learned from, of all others
only the speech (minimal supervision).
"""


def add_arguments(parser):
    parser.add_argument("data", metavar="DATA", help="data folder, with the stream ali")
    parser.add_argument("--minutes", type=float, default=15.0, help="how much speech (default: %(default)s)")
    parser.add_argument("--speaker", help="whose (default: the speaker with the most speech)")
    parser.add_argument("--lang", help="only in this language")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    parser.add_argument("--out", required=True, metavar="LIST", help="file to write, an utterance a line")


def main(args):
    from speechrep.data.folder import DataFolder, write_table
    from speechrep.data.subset import one_voice
    folder = DataFolder(args.data)
    utts = one_voice(folder, args.minutes, args.speaker, args.lang, args.seed)
    write_table(args.out, dict.fromkeys(utts, ""))
    minutes = sum(folder.seconds[utt] for utt in utts) / 60
    print(f"{args.out}: {len(utts)} utterances of {folder.read('utt2spk')[utts[0]]}, {minutes:.2f} min")
