"""Train a method (a representation, a duration model, a vocoder) on a data folder and its dumped features.

The configuration names everything: `method:`, `model:` (sizes), `weights:` (of the losses), `train:` (how). A run that
was stopped goes on from its last checkpoint; a finished one is left alone. On several processes or machines:

  torchrun --nproc-per-node 8 -m speechrep pretrain ...
  srun torchrun --nnodes N --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m speechrep pretrain ...
"""


def add_arguments(parser):
    parser.add_argument("--conf", required=True, help="YAML of the method")
    parser.add_argument("--train", required=True, help="data folder of the training part")
    parser.add_argument("--dev", required=True, help="data folder of the dev part, by which the best checkpoint is chosen")
    parser.add_argument("--dump", required=True, help="folder of dumped features, one sub-folder a part")
    parser.add_argument("--exp", required=True, help="folder of the run")
    parser.add_argument("--labelled", help="list of the training utterances whose phones may be used; default: all")
    parser.add_argument("--start", help="weights to begin with: a checkpoint, a released model's folder in "
                        "transformers' format, or torchaudio:BUNDLE; default: random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="processes on this machine that share the work; default 1")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the YAML")


def main(args):
    from pathlib import Path

    from speechrep.bundles import is_bundle, start_from_bundle
    from speechrep.released import start_from
    from speechrep.train.distributed import run_in
    from speechrep.train.pretrain import pretrain
    start = start_from_bundle if is_bundle(args.start or "") else start_from
    return run_in(args.processes, pretrain, Path(args.conf), Path(args.train), Path(args.dev), Path(args.dump),
                  Path(args.exp), args.seed, args.device, args.set, Path(args.labelled) if args.labelled else None,
                  Path(args.start) if args.start else None, start)
