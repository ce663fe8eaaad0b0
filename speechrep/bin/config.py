"""Show the whole configuration of methods and tasks: what a YAML and --set say, and the rest by default.

  speechrep config --conf conf/quick.yaml --set train.steps=2000

A misspelt key and a value of the wrong kind are errors, as in `speechrep pretrain` and `speechrep train`, but before any
data are looked at.
"""


def add_arguments(parser):
    parser.add_argument("--conf", required=True, nargs="+", metavar="YAML", help="of methods or tasks")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of each")


def main(args):
    import sys
    from pathlib import Path

    import yaml

    from speechrep.config import plain, read_yaml
    from speechrep.errors import SpeechrepError
    from speechrep.tasks.train import read_experiment as read_task
    from speechrep.train.pretrain import read_experiment as read_method
    shown = []
    for path in map(Path, args.conf):
        kinds = read_yaml(path).keys() & {"method", "task"}
        if len(kinds) != 1:
            raise SpeechrepError(f"{path}: {' and '.join(sorted(kinds)) or 'neither method nor task'}",
                                 "the YAML of a method or of a task: one of the keys `method` and `task`")
        read = read_method if kinds == {"method"} else read_task
        experiment, *_, model = read(path, args.set)
        shown.append(plain(experiment) | {"model": plain(model)})
    yaml.safe_dump_all(shown, sys.stdout, sort_keys=False, allow_unicode=True)
