"""Choose some minutes of a data folder, of one voice or of all, the same each time.

  speechrep subset data/train --minutes 15 --out exp/labelled
  speechrep subset data/train --minutes 10 --voices all --folder data/train_10min

--out lists the utterances, for `--labelled LIST` of `speechrep pretrain`, `train` and `decode`: the phones of these
utterances may be learned from, of all others only the speech (minimal supervision). --folder makes a data folder of
them, whose features are dumped as of any part. Low-resource recognition needs neither: see `minutes` of the task asr.
"""


def add_arguments(parser):
    parser.add_argument("data", metavar="DATA", help="data folder; with the stream ali for one voice, text for all")
    parser.add_argument("--minutes", type=float, default=15.0, help="how much speech (default: %(default)s)")
    parser.add_argument("--voices", default="one", choices=("one", "all"), help="of one speaker, or of all in turn; "
                        "then what fewer minutes hold is among what more hold (default: %(default)s)")
    parser.add_argument("--speaker", help="whose, of one voice (default: the speaker with the most speech)")
    parser.add_argument("--lang", help="only in this language")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    parser.add_argument("--out", metavar="LIST", help="file to write, an utterance a line")
    parser.add_argument("--folder", metavar="DATA", help="data folder to make of them")


def main(args):
    from speechrep.data.folder import DataFolder, write_table
    from speechrep.data.subset import all_voices, one_voice
    from speechrep.errors import SpeechrepError
    if not (args.out or args.folder):
        raise SpeechrepError("neither --out nor --folder", "a list to write, a data folder to make, or both")
    if args.voices == "all" and args.speaker:
        raise SpeechrepError(f"--voices all with --speaker {args.speaker}", "one of the two")
    folder = DataFolder(args.data)
    if args.voices == "all":
        utts = all_voices(folder, args.minutes, args.lang, args.seed)
    else:
        utts = one_voice(folder, args.minutes, args.speaker, args.lang, args.seed)
    if args.folder:
        folder.subset(utts, args.folder)
    if args.out:
        write_table(args.out, dict.fromkeys(utts, ""))
    minutes = sum(folder.seconds[utt] for utt in utts) / 60
    speakers = sorted({folder.read("utt2spk")[utt] for utt in utts})
    whose = speakers[0] if len(speakers) == 1 else f"{len(speakers)} speakers"
    print(f"{args.folder or args.out}: {len(utts)} utterances of {whose}, {minutes:.2f} min")
