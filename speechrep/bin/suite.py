"""Give checkpoints their whole rows: every task that the corpus can run, trained, scored and shown.

  speechrep suite tasks
  speechrep suite extract --upstream exp/hubert/small-0/best.pt --nj 4
  speechrep suite train --upstream mfcc,exp/hubert/small-0/best.pt --task all
  speechrep suite score --upstream mfcc,exp/hubert/small-0/best.pt --task all
  speechrep suite table
  speechrep suite report

Run it in a recipe's folder, behind its stages 1 to 3 (utils/evaluate.sh does). `tasks` lists what the data folders have
labels for, and the reason for each task that they cannot run. `extract` computes the features that the tasks share; what
it was not run for is computed when a task needs it, and stays unless --forget is said. `train` and `score` do, one after
another, what `speechrep train`, `decode` and `score` do, and print each command. What is done is left alone, what was
interrupted goes on; what was decoded and scored from a checkpoint that has changed since is done again, what was trained
on one refused. A task that fails does not keep the others from running: it is named at the end. They leave
EXP/tasks/SYSTEM-SEED/TASK, and `score` and `table` that of all systems, EXP/METHODS.md and EXP/METHODS.json.
Of several seeds it also says how far each is ahead of MFCC and of its own network untrained, seed by seed, or of what
--against names. `report` leaves EXP/report/methods.html and, as pictures for a README, bars.svg, ahead_of_NAME.svg and
layers.svg in EXP/report.
--earlier METHODS.json of `table` and `report` adds the rows of a table that was kept: of another day, or of a recipe that
publishes its own, to compare a new system with.

An upstream is mfcc, fbank, logmel, a checkpoint, random:CHECKPOINT or a folder in transformers' format, or mean: and one
of these for its means over utterances, with a name of its own as NAME=SPEC; `{seed}` in it stands for the seed. Tasks of
frames are left out, and named, of one that gives one vector an utterance.
"""


def add_arguments(parser):
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="tasks|extract|train|score|table|report")
    made = {}
    for kind, what in (("tasks", "what the corpus can run"), ("extract", "compute what the tasks share"),
                       ("train", "train the tasks"),
                       ("score", "decode and score, and make the table"),
                       ("table", "make the table of what was scored"), ("report", "make the page")):
        made[kind] = own = kinds.add_parser(kind, help=what)
        own.add_argument("--exp", default="exp", help="everything trained and scored (default: %(default)s)")
        if kind in ("table", "report"):
            own.add_argument("--earlier", metavar="FILE", help="METHODS.json whose systems and seeds stand in the table too, "
                             "marked; what EXP has scored itself goes before")
            own.add_argument("--against", metavar="NAMES", help="systems by commas that all others are compared with, seed by "
                             "seed; mfcc is one, and random, of which each has its own (default: these two, where there "
                             "are several seeds)")
        if kind != "table":
            own.add_argument("--data", default="data", help="folder of data folders (default: %(default)s)")
        if kind not in ("table", "report"):
            own.add_argument("--conf", action="append", default=[], metavar="FOLDER", help="folder of TASK.yaml; may "
                             "be repeated, the first that has one is taken (default: conf)")
            own.add_argument("--task", default="all", help="names by commas, or all that the corpus can run (default)")
            own.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                             help="override a value of every task's YAML")
            own.add_argument("--superb-compatible", action="store_true", help="take on the reference's habits that "
                             "change numbers, as far as a task has them, into TASK.superb; each is named when it runs: "
                             "asr model.phones_from=phones, of phones, and model.end_symbol=true; asv "
                             "model.test_chooses=true; er model.reference_dev=true; ks model.balanced=true; sd "
                             "model.chunk_overlap=0, model.best_by=frames and model.test_chooses=true; sf "
                             "model.end_symbol=true; sid model.within= and model.crop_sec=8")
    made["tasks"].add_argument("--names", action="store_true", help="whatever the corpus has: only the names of --task, "
                               "each of which must be a task, as what --upstream names must be there")
    made["tasks"].add_argument("--upstream", default="", help="with --names: specs by commas, each SPEC or NAME=SPEC")
    made["tasks"].add_argument("--seed", default="0", help="with --names: a number, or several by commas (default: 0)")
    for own in (made["extract"], made["train"], made["score"]):
        own.add_argument("--upstream", required=True, help="specs by commas, each SPEC or NAME=SPEC")
        own.add_argument("--seed", default="0", help="a number, or several by commas (default: %(default)s)")
        own.add_argument("--dump", default="dump", help="folder of dumped features: KIND/PART (default: %(default)s)")
        own.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ...; auto takes a GPU where there is one")
    for own in (made["train"], made["score"]):
        own.add_argument("--forget", action="store_true", help="when a system is done, remove the features that were "
                         "computed for it: gigabytes each on hours of speech")
    made["extract"].add_argument("--nj", type=int, default=1, help="jobs at a time (default: 1)")
    made["train"].add_argument("--processes", type=int, default=1, help="processes that share a training (default: 1)")
    made["train"].add_argument("--sweep", action="store_true",
                               help="choose each task's learning rate on dev (speechrep sweep)")
    made["report"].add_argument("--title", default="", help="heading of the page")
    made["report"].add_argument("--credits", action="append", default=[], metavar="FILE",
                                help="text that must go with the corpus's audio, such as its licence; may be repeated")


def main(args):
    kinds = (tasks, extract, train, score, table, report)
    return next(kind for kind in kinds if kind.__name__ == args.kind)(args)


def tasks(args):
    """Name every task that the corpus can run on stdout, and on stderr why not the others; with --names all that there
    are."""
    if args.names:
        from speechrep.tasks.suite import task_list
        names = task_list(_confs(args), args.task)
        if args.upstream:
            _systems(args)
        print(*names, sep="\n")
        return
    for job in _told_jobs(args):
        print(job.name)


def extract(args):
    """Fill the cache with all layers of what every system's tasks learn from, where they do not fine-tune it and there is
    room: the frames, and the means for the tasks that ask for no more."""
    from pathlib import Path

    from speechrep.data.folder import DataFolder
    from speechrep.extract import open_upstream
    from speechrep.tasks.cached import Cache, Hearer, has_room
    from speechrep.tasks.train import read_experiment
    from speechrep.upstream import FEATURES
    runs, dump = _Runs(), Path(args.dump)
    for system, jobs in _rows(args):
        # Training part and whether the task pools -> parts, in the order in which they are asked for.
        wanted: dict[tuple, dict] = {}
        for job in (job for job in jobs if job.conf and system.spec not in FEATURES):
            _, cls, config = read_experiment(job.conf, [*_habits(args, job), *args.set])
            train = DataFolder(job.parts[0])
            hearer, cache = Hearer(open_upstream(system.spec, train, dump), cls, config), Cache(dump / "layers", train, dump)
            parts = wanted.setdefault((train.path, hearer.pools), {})
            parts |= {part: parts.get(part) or hearer.served and has_room(cache, hearer, DataFolder(part))
                      for part in job.parts}
        # Means are made of the frames where those are there.
        for (train, mean), parts in sorted(wanted.items(), key=lambda item: item[0][1]):
            if any(parts.values()):
                runs.run("extract", "--upstream", system.spec, "--layers", "all", "--train", train, "--dump", args.dump,
                         "--cache", f"{args.dump}/layers", "--nj", args.nj, "--device", args.device,
                         *(["--mean"] if mean else []), *(part for part, room in parts.items() if room))
    runs.end()


def train(args):
    """Train every trained task on every system."""
    runs = _Runs()
    for system, jobs in _rows(args):
        jobs = [job for job in jobs if job.conf]
        for job in jobs:
            train_part, dev_part, _ = job.parts
            for out, fold in _trainings(args, system, job):
                options = ["--conf", job.conf, "--upstream", system.spec, "--train", train_part, "--dev", dev_part,
                           "--dump", args.dump, "--cache", f"{args.dump}/layers", "--seed", system.seed,
                           "--device", args.device, "--exp", out]
                options += [word for value in (*_habits(args, job), *args.set, *fold) for word in ("--set", value)]
                if args.sweep or (out / "sweep.json").is_file():
                    runs.run("sweep", *options)
                else:
                    runs.run("train", *options, "--processes", args.processes)
        _forget(args, system, jobs)
    runs.end()


def score(args):
    """Decode and score every task of every system, then the table."""
    from pathlib import Path

    from speechrep.provenance import made_from
    runs = _Runs()
    for system, jobs in _rows(args):
        named = ["--system", system.name, "--seed", system.seed]
        for job in jobs:
            out = _out(args, system, job)
            folder = out / job.parts[2].name if job.conf else out
            if job.conf is None:
                if not _says(folder, **_digests(args, system, job)):
                    runs.run("score", job.task, "--upstream", system.spec, "--dump", args.dump, "--cache",
                             f"{args.dump}/layers", *job.options, *_habits(args, job), "--device", args.device, *named,
                             "--out", out)
                continue
            trainings = [run for run, _ in _trainings(args, system, job)]
            made = [run / folder.name for run in trainings if runs.run(
                "decode", job.task, "--data", job.parts[2], "--dump", args.dump, "--cache", f"{args.dump}/layers",
                "--train", job.parts[0], "--checkpoint", run / "best.pt", *job.options, "--device", args.device,
                "--out", run / folder.name)]
            if len(made) == len(trainings) and not _says(folder, source=[made_from(run) for run in made]):
                kind = "predictions" if (made[0] / "made.json").is_file() else "recognition"
                runs.run("score", kind, "--part", folder.name, *named, "--out", folder, *made)
        _forget(args, system, jobs)
    _table(Path(args.exp))
    runs.end()


def table(args):
    """Make the table of all systems that were scored."""
    from pathlib import Path
    _table(Path(args.exp), _earlier(args), _against(args))


def report(args):
    """Make the page of all systems that were scored, and pictures of them."""
    from pathlib import Path

    from speechrep.report.methods_page import make_methods_page
    from speechrep.report.pictures import write_pictures
    exp, earlier, against = Path(args.exp), _earlier(args), _against(args)
    if (exp / "METHODS.md").is_file():
        print((exp / "METHODS.md").read_text(encoding="utf-8"), end="")
    print(make_methods_page(exp, Path(args.data), exp / "report", args.title, [Path(path) for path in args.credits],
                            earlier, against))
    if earlier is not None or any((exp / "tasks").rglob("score.json")):
        for path in write_pictures(exp, exp / "report", earlier, against):
            print(path)


def _table(exp, earlier=None, against=()) -> None:
    from speechrep.report.methods_table import write_table
    print(write_table(exp, earlier, against).read_text(encoding="utf-8"), end="")


def _earlier(args):
    from pathlib import Path
    return Path(args.earlier) if args.earlier else None


def _against(args):
    return args.against.split(",") if args.against else []


class _Runs:
    """Verbs that run one after another in this process; those that failed are named at the end."""

    def __init__(self):
        self.failed: list[str] = []

    def run(self, *words) -> bool:
        """`speechrep WORDS`; whether it went well. Its command is what stands beside its numbers."""
        import shlex
        import sys
        import traceback

        from speechrep.bin import main
        from speechrep.errors import Stopped
        argv = [str(word) for word in words]
        command = shlex.join(["speechrep", *argv])
        print(f"+ {command}", flush=True)
        before, sys.argv = sys.argv, ["speechrep", *argv]
        try:
            status = main(argv)
        except (Exception, SystemExit):  # whatever one task meets, the others go on
            traceback.print_exc()
            status = 1
        finally:
            sys.argv = before
        if status == Stopped.status:
            raise Stopped("stopped by a signal, during the last of the commands above",
                          cure="run the same command to go on")
        if status:
            self.failed.append(command)
        return not status

    def end(self) -> None:
        from speechrep.errors import SpeechrepError
        if self.failed:
            raise SpeechrepError("\n    ".join([f"{len(self.failed)} failed, each with its reason above:", *self.failed]),
                                 cure="mend what each says and run the same command again; what is done is kept")


def _jobs(args):
    from pathlib import Path

    from speechrep.tasks.suite import find_jobs
    return find_jobs(Path(args.data), _confs(args), args.task, args.set, args.superb_compatible)


def _confs(args):
    from pathlib import Path
    return [Path(folder) for folder in args.conf or ["conf"]]


def _told_jobs(args):
    """The jobs; says on stderr what cannot run, and which habits are taken on."""
    import sys
    jobs, reasons = _jobs(args)
    for name, reason in reasons.items():
        print(f"not {name}: {reason}", file=sys.stderr)
    if args.superb_compatible:
        for job in jobs:
            for setting, habit in job.superb or [("as it is", "none of the reference's habits is implemented")]:
                print(f"superb-compatible: {job.name}: {setting}: {habit}", file=sys.stderr)
    return jobs


def _systems(args):
    """What --upstream and --seed name, all of which is there."""
    from speechrep.errors import SpeechrepError
    from speechrep.tasks.systems import find_systems
    try:
        seeds = [int(word) for word in args.seed.split(",")]
    except ValueError:
        raise SpeechrepError(f"--seed {args.seed}", "a whole number, or several by commas") from None
    return find_systems(args.upstream, seeds)


def _rows(args):
    """(system, the jobs that it can do) in order; says on stderr which it cannot."""
    import sys
    systems = _systems(args)
    jobs, rows = _told_jobs(args), []
    for system in systems:
        left_out = set()
        for names, why in _lacking(system.spec, jobs):
            print(f"not {', '.join(names)} of {system.name}: {why}", file=sys.stderr)
            left_out.update(names)
        rows.append((system, [job for job in jobs if job.name not in left_out]))
    return rows


def _lacking(spec: str, jobs) -> list[tuple[list[str], str]]:
    """Names of jobs that an upstream cannot serve, and why. Of a checkpoint that cannot be read the commands say why."""
    from speechrep.errors import SpeechrepError
    from speechrep.upstream import is_utterance_level, knows_speakers
    try:
        level, knows = is_utterance_level(spec), knows_speakers(spec)
    except SpeechrepError:
        return []
    found = [([job.name for job in jobs if level and job.frame_level], "one vector an utterance, where they need frames"),
             ([job.name for job in jobs if knows and job.tells_speakers],
              "it hears log-mel that is standardised by speaker, so it is told who speaks")]
    return [(names, why) for names, why in found if names]


def _says(folder, **wanted) -> bool:
    """Whether there is a score in the folder, made from what there is now."""
    from speechrep.metrics.score import read_score
    path = folder / "score.json"
    if not path.is_file():
        return False
    config = read_score(path)["provenance"].get("config") or {}
    # An earlier version did not note the data.
    config.setdefault("data_digest", wanted.get("data_digest"))
    return all(config.get(key) == value for key, value in wanted.items())


def _digests(args, system, job) -> dict[str, str]:
    """Of the upstream and of the data that a zero-shot score follows from."""
    from pathlib import Path

    from speechrep.data.folder import DataFolder, tables_digest
    from speechrep.extract import fingerprint
    paths = [Path(path) for option, path in zip(job.options[::2], job.options[1::2]) if option != "--train"]
    return {"upstream_digest": fingerprint(system.spec, DataFolder(_option(job, "--train")), Path(args.dump)),
            "data_digest": tables_digest(*paths)}


def _option(job, name: str) -> str:
    return dict(zip(job.options[::2], job.options[1::2]))[name]


def _forget(args, system, jobs) -> None:
    """With --forget, remove the layers that were computed of a system; plain features are read from the dump."""
    import shutil
    from pathlib import Path

    from speechrep.data.folder import DataFolder
    from speechrep.extract import upstream_folder
    from speechrep.upstream import FEATURES
    if args.forget and jobs and system.spec not in FEATURES:
        train = jobs[0].parts[0] if jobs[0].conf else _option(jobs[0], "--train")
        shutil.rmtree(upstream_folder(Path(args.dump) / "layers", system.spec, DataFolder(train), Path(args.dump)),
                      ignore_errors=True)


def _habits(args, job) -> list[str]:
    return [setting for setting, _ in job.superb] if args.superb_compatible else []


def _trainings(args, system, job) -> list:
    """Folder and settings of each training of a task: one, or one for each fold."""
    out = _out(args, system, job)
    return [(out / f"fold{number}", [fold]) for number, fold in enumerate(job.folds, 1)] or [(out, [])]


def _out(args, system, job):
    """EXP/tasks/SYSTEM-SEED/TASK; with the reference's habits, TASK.superb."""
    from pathlib import Path
    name = f"{job.name}.superb" if _habits(args, job) else job.name
    return Path(args.exp) / "tasks" / f"{system.name}-{system.seed}" / name
