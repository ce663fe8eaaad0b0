"""Choose the learning rate of a downstream task on dev, bad runs stopped early (successive halving).

  speechrep sweep --conf conf/sid.yaml --upstream exp/hubert/small-0/best.pt --train data/train --dev data/dev \\
    --dump dump --cache dump/layers --exp exp/tasks/hubert-small-0/sid

Leaves in EXP the run of the chosen rate, as `speechrep train` would have made it, what was tried in EXP/sweep.json, and
the logs of all in EXP/lr. Killed at any moment, the same command goes on. Needs optuna (the extra `suite`).
"""


def add_arguments(parser):
    parser.add_argument("--conf", required=True, help="YAML of the task")
    parser.add_argument("--upstream", required=True, help="a checkpoint, mfcc, fbank, logmel, random:CHECKPOINT, or mean:SPEC")
    parser.add_argument("--train", required=True, help="data folder of the training part")
    parser.add_argument("--dev", required=True, help="data folder of the dev part, by which the rate is chosen")
    parser.add_argument("--dump", required=True, help="folder of dumped features: KIND/PART")
    parser.add_argument("--exp", required=True, help="folder of the chosen run")
    parser.add_argument("--grid", help="rates by commas, in the order of trying (default: 1e-3,1e-2,1e-4,1e-1,1e-5)")
    parser.add_argument("--reduction", type=int, default=3, help="one of so many goes on at a rung (default: %(default)s)")
    parser.add_argument("--cache", help="where the layers of a frozen upstream are kept for all tasks, such as dump/layers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the YAML")


def main(args):
    from pathlib import Path

    from speechrep.errors import SpeechrepError
    from speechrep.tasks.sweep import GRID, sweep
    from speechrep.tasks.train import fill_cache
    try:
        grid = tuple(float(word) for word in args.grid.split(",")) if args.grid else GRID
    except ValueError:
        raise SpeechrepError(f"--grid {args.grid}", "numbers by commas, such as 1e-3,1e-2") from None
    parts = Path(args.train), Path(args.dev), Path(args.dump)
    cache = Path(args.cache) if args.cache else None
    # What is trained already is not trained again, and needs no features.
    if cache is not None and not (Path(args.exp) / "done.json").is_file():
        fill_cache(Path(args.conf), args.upstream, *parts, cache, args.device, args.set)
    found = sweep(Path(args.conf), args.upstream, *parts, Path(args.exp), grid, args.reduction, args.seed, args.device,
                  args.set, cache)
    print(f"{args.exp}: lr {found['lr']:g}")
