"""Cut spoken queries from the recordings of a data folder, for `speechrep score qbe`.

DATA has `text`, `phones`, `utt2spk` and phone times (`ali.true`, else `ali`). OUT becomes a data folder of words that at
least two speakers say, with `relevance`: which utterances of DATA another speaker says them in. It holds no audio of its
own, but `segments`. The same DATA gives the same queries.
"""

from pathlib import Path


def add_arguments(parser):
    parser.add_argument("data", type=Path, metavar="DATA", help="data folder of the documents")
    parser.add_argument("out", type=Path, metavar="OUT", help="data folder to write, such as data/queries_dev")
    parser.add_argument("--count", type=int, default=60, help="so many queries, at the most (default: %(default)s)")


def main(args):
    from speechrep.data.folder import DataFolder
    from speechrep.data.queries import cut_queries
    folder = cut_queries(DataFolder(args.data), args.out, args.count)
    pairs = len((args.out / "relevance").read_text(encoding="utf-8").splitlines())
    print(f"{args.out}: {len(folder.utts)} queries, {sum(folder.seconds.values()) / len(folder.utts):.2f} s each, "
          f"said in {pairs / len(folder.utts):.1f} documents by others")
