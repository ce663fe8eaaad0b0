"""List everything that is wrong with data folders: ids, streams, transcripts, audio.

Reads all audio. Exit status 1 if there are problems, 0 if not. With --skip-bad the utterances concerned are taken out
of every stream and recorded in DATA/skipped.tsv. A clean folder without utt2dur gets one.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `speechrep check`."""
    parser.add_argument("data", metavar="DATA", nargs="+", help="data folders, such as data/train data/dev")
    parser.add_argument("--rate", type=int, metavar="HZ", help="the sampling rate that all audio should have")
    parser.add_argument("--allow-pipes", action="store_true", help="run the commands that stand in wav.scp")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad utterances out, and say which and why")
    parser.add_argument("--nj", type=int, metavar="N", help="files read at a time (default: one a core, at most 8)")


def main(args: argparse.Namespace) -> int:
    """Run `speechrep check`."""
    from speechrep.data.check import check_folder, skip_bad, store_seconds
    status, helps = 0, False
    for data in args.data:
        report = check_folder(data, args.rate, args.allow_pipes, args.nj)
        for problem in report.problems:
            print(problem)
        print(f"{data}: {report.summary()}", flush=True)
        if report.problems and args.skip_bad:
            reasons = skip_bad(data, report.problems)
            report = check_folder(data, args.rate, args.allow_pipes, args.nj)
            for problem in report.problems:
                print(f"still: {problem}")
            print(f"{data}: left out {len(reasons)} utterances, see {data}/skipped.tsv; now {report.summary()}",
                  flush=True)
        if report.problems:
            status = 1
            helps = helps or not args.skip_bad and any(problem.skip != "none" for problem in report.problems)
        else:
            store_seconds(data, report.seconds)
    if helps:
        print("Mend them, or leave the utterances concerned out: --skip-bad (of a recipe's run.sh: --skip-bad true)",
              flush=True)
    return status
