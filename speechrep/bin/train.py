"""Train a downstream task (asr, sid, intent, ...) on an upstream: a checkpoint, plain features, random:CHECKPOINT."""


def add_arguments(parser):
    parser.add_argument("--conf", required=True, help="YAML of the task")
    parser.add_argument("--upstream", required=True, help="a checkpoint, mfcc, fbank, logmel, random:CHECKPOINT, or mean:SPEC")
    parser.add_argument("--train", required=True, help="data folder of the training part")
    parser.add_argument("--dev", required=True, help="data folder of the dev part, by which the best checkpoint is chosen")
    parser.add_argument("--dump", required=True, help="folder of dumped features: KIND/PART")
    parser.add_argument("--exp", required=True, help="folder of the run")
    parser.add_argument("--init", help="best.pt of the same task on the same upstream, whose weights are the first, such as a "
                        "frozen run's before fine-tuning")
    parser.add_argument("--labelled", help="list of the training utterances that are learned from, as `speechrep subset` "
                        "writes it; default: all")
    parser.add_argument("--cache", help="where the layers of a frozen upstream are kept for all tasks, such as dump/layers; "
                        "without it they are computed at every step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="processes on this machine that share the work; default 1")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the YAML")


def main(args):
    from pathlib import Path

    from speechrep.tasks.train import fill_cache, train_task
    from speechrep.train.distributed import run_in
    cache = Path(args.cache) if args.cache else None
    # What is trained already is not trained again, and needs no features.
    if cache is not None and not (Path(args.exp) / "done.json").is_file():
        fill_cache(Path(args.conf), args.upstream, Path(args.train), Path(args.dev), Path(args.dump), cache,
                   args.device, args.set)
    return run_in(args.processes, train_task, Path(args.conf), args.upstream, Path(args.train), Path(args.dev),
                  Path(args.dump), Path(args.exp), args.seed, args.device, args.set,
                  Path(args.init) if args.init else None, cache, Path(args.labelled) if args.labelled else None)
