"""Which tasks a corpus can run, and why it cannot run the others.

A trained task is a YAML with a `task:` in one of the folders of configurations; its name is the file's, so that
`asr.yaml` and `asr_chars.yaml` are two tasks of one file of `speechrep/tasks`. A zero-shot task is a file of
`speechrep/tasks` with a `ZERO_SHOT`. What each needs it says itself (see `speechrep.tasks.base`): a task runs where the
folders, streams and files are that it names and its own `obstacle` finds none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechrep.config import read_yaml
from speechrep.data.dataset import stream_file
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.tasks.base import BaseTask, ZeroShot, zero_shot_tasks
from speechrep.tasks.train import read_experiment

PARTS = ("train", "dev", "test")
LEFT_OUT = ("_superb", "h_finetuned")
"""What the names of configurations end in that `all` leaves out: the reference's own size; fine-tuning on hours of labelled
speech."""


@dataclass(frozen=True)
class Job:
    """A task that the corpus can run."""

    name: str
    """The YAML's name, or that of the zero-shot task."""
    task: str
    """The file of speechrep/tasks."""
    conf: Path | None
    """The YAML; None trains nothing."""
    parts: tuple[Path, Path, Path] | None
    """Data folders for training, dev and test, of a trained task."""
    options: tuple[str, ...] = ()
    """Those that name data folders: of a zero-shot task for `speechrep score`, of a trained one for `speechrep
    decode`."""
    folds: tuple[str, ...] = ()
    """The settings of several trainings that together are the task (see `BaseTask.folds`)."""
    frame_level: bool = True
    """Whether an upstream of one vector an utterance cannot serve it (see `BaseTask`)."""
    tells_speakers: bool = False
    """Whether an upstream that is told which utterances are of one speaker cannot serve it (see `BaseTask`)."""
    superb: tuple[tuple[str, str], ...] = ()
    """The habits of the reference that the task can take on, with the setting of each (see `BaseTask.superb`)."""


def task_confs(folders: list[Path]) -> dict[str, Path]:
    """Name -> YAML of a trained task; what the first folder has, the later ones do not replace."""
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.yaml"))):
        if path.stem not in found and "task" in read_yaml(path):
            found[path.stem] = path
    return found


def task_list(confs: list[Path], wanted: str = "all") -> list[str]:
    """The tasks that `wanted` names (see `find_jobs`), whatever a corpus has labels for. Raises `SpeechrepError` for a name
    that is no task."""
    trained, zero_shot = task_confs(confs), zero_shot_tasks()
    if wanted == "all":
        return [name for name in sorted(trained) if not name.endswith(LEFT_OUT)] + sorted(zero_shot)
    names = list(dict.fromkeys(name for name in wanted.split(",") if name))
    unknown = next((name for name in names if name not in trained and name not in zero_shot), None)
    if unknown is not None:
        raise SpeechrepError(f"task {unknown}", f"all, or some of {', '.join((*trained, *zero_shot))}",
                             f"name one of them, or write {confs[0]}/{unknown}.yaml")
    return names


def find_jobs(data: Path, confs: list[Path], wanted: str = "all", overrides: list[str] | None = None,
              superb: bool = False) -> tuple[list[Job], dict[str, str]]:
    """What to run on the folders in `data`, trained tasks first, and name -> reason for what cannot be run.

    wanted: "all", which leaves out what `LEFT_OUT` says, or names by commas. superb: each trained task with the reference's
    habits, which may need other labels and parts. Raises `SpeechrepError` for a name that is no
    task, for a named task that cannot run, and if nothing can.
    """
    trained, zero_shot = task_confs(confs), zero_shot_tasks()
    jobs, reasons = [], {}
    for name in task_list(confs, wanted):
        found = _trained(name, trained[name], data, overrides or [], superb) if name in trained \
            else _zero_shot(name, zero_shot[name], data)
        if isinstance(found, Job):
            jobs.append(found)
        else:
            reasons[name] = found
    if reasons and (wanted != "all" or not jobs):
        raise SpeechrepError("; ".join(f"{name}: {reason}" for name, reason in reasons.items()),
                             f"in {data} what each task needs", "run the recipe's stage 1, or name other tasks")
    return jobs, reasons


def _trained(name: str, conf: Path, data: Path, overrides: list[str], superb: bool) -> Job | str:
    experiment, cls, config = read_experiment(conf, overrides)
    if superb:
        _, _, config = read_experiment(conf, [*cls.superb_of(config), *overrides])
    return _first(_trained_on(parts, name, conf, experiment.task, cls, config, data) for parts in cls.parts_of(config))


def _trained_on(names: tuple[str, str, str], name: str, conf: Path, task: str, cls: type[BaseTask], config: Any,
                data: Path) -> Job | str:
    paths = {part: data / folder for part, folder in zip(PARTS, names)}
    streams = [stream for need in cls.needs_of(config) if (stream := stream_file(need))]
    for part, path in paths.items():
        why = _lacking(path, ("wav.scp", *streams, *cls.files.get(part, ())))
        if why:
            return why
    opened = {path: DataFolder(path) for path in paths.values()}
    folders = {part: opened[path] for part, path in paths.items()}
    why = _unlabelled(folders, streams) or cls.obstacle(config, folders)
    options = (word for option, part in cls.decode_options.items() for word in (option, str(paths[part])))
    return why or Job(name, task, conf, tuple(paths.values()), tuple(options), cls.folds(config, folders),
                      cls.frame_level, cls.tells_speakers, tuple(cls.superb_of(config).items()))


def _zero_shot(name: str, tasks: tuple[ZeroShot, ...], data: Path) -> Job | str:
    return _first(_zero_shot_on(name, task, data) for task in tasks)


def _zero_shot_on(name: str, task: ZeroShot, data: Path) -> Job | str:
    for part in dict.fromkeys((*task.options.values(), *task.files)):
        why = _lacking(data / part, task.files.get(part, ()))
        if why:
            return why
    missing = [path for path in task.paths.values() if not (data / path).is_file()]
    if missing:
        return f"no {', '.join(missing)} in {data}"
    options = (word for option, path in (task.options | task.paths).items() for word in (option, str(data / path)))
    return Job(name, name, None, None, tuple(options), frame_level=task.frame_level,
               superb=tuple(task.superb.items()))


def _first(found: Iterable[Job | str]) -> Job | str:
    """The first job; where there is none, the reasons."""
    reasons = []
    for one in found:
        if isinstance(one, Job):
            return one
        reasons.append(one)
    return "; or ".join(dict.fromkeys(reasons))


def _lacking(folder: Path, files: tuple[str, ...]) -> str:
    if not folder.is_dir():
        return f"no folder {folder}"
    missing = [name for name in files if not (folder / name).exists()]
    return f"no {', '.join(dict.fromkeys(missing))} in {folder}" if missing else ""


def _unlabelled(folders: dict[str, DataFolder], streams: list[str]) -> str:
    """Which folder has no utterance with a line in every stream."""
    for folder in folders.values():
        tables = [folder.labels(stream) for stream in streams]
        if not any(all(utt in table for table in tables) for utt in folder.utts):
            return f"no utterance of {folder.path} has {' and '.join(streams) or 'audio'}"
    return ""
