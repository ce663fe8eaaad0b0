"""Training a downstream task on an upstream, by the loop that trains methods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechrep.config import apply_overrides, build, plain, read_yaml
from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder, read_table
from speechrep.errors import SpeechrepError
from speechrep.extract import fingerprint
from speechrep.tasks import cached
from speechrep.tasks.base import BaseTask, find_task, load_task
from speechrep.tasks.frames import open_upstream
from speechrep.train.loop import TrainConfig
from speechrep.train.pretrain import conduct


@dataclass(frozen=True)
class Experiment:
    """The YAML of a task, whole."""

    task: str
    """A file of speechrep/tasks."""
    train: TrainConfig
    """How it is trained."""
    weights: dict[str, float]
    """The factor of each loss."""
    model: dict[str, Any] = field(default_factory=dict)
    """What the task's own Config says."""


def read_experiment(conf: Path, overrides: list[str] | None = None) -> tuple[Experiment, type[BaseTask], Any]:
    """The experiment in a YAML, its task and the task's config."""
    experiment = build(Experiment, apply_overrides(read_yaml(conf), overrides or []), str(conf))
    cls = find_task(experiment.task)
    return experiment, cls, build(cls.Config, experiment.model, f"{conf}: model")


def fill_cache(conf: Path, upstream: str, train_path: Path, dev_path: Path, dump: Path, cache: Path,
               device: str = "cpu", overrides: list[str] | None = None) -> None:
    """Compute what `train_task` will read from `cache`, as far as it is not there. Several processes that train must
    find it done."""
    _, cls, config = read_experiment(conf, overrides)
    train = DataFolder(train_path)
    hearer = cached.Hearer(open_upstream(upstream, train, dump), cls, config)
    kept = cached.Cache(cache, train, dump, device)
    for part in (train, DataFolder(dev_path)) if hearer.served else ():
        if cached.has_room(kept, hearer, part):
            cached.fill(kept, hearer, part)


def train_task(conf: Path, upstream: str, train_path: Path, dev_path: Path, dump: Path, exp: Path, seed: int = 0,
               device: str = "auto", overrides: list[str] | None = None, init: Path | None = None,
               cache: Path | None = None, labelled: Path | None = None,
               watch: Callable[[int, dict[str, float]], None] | None = None) -> None:
    """Train the task that `conf` describes on `upstream` (see `Upstream.open`). `dump` has a sub-folder for each kind of
    features, with a sub-folder for each part. `init` is a checkpoint of the same task whose weights are the first: a head
    that was trained on the frozen upstream does not spoil it when both are fine-tuned (Kumar et al., arXiv 2202.10054).
    cache: where the layers of a frozen upstream are kept, computed once for all tasks; None computes them at each step.
    labelled: a list of the utterances of the training part that are learned from, where not all are; the best weights are
    chosen on all of dev. watch: told step and values of every evaluation; what it raises stops the run.
    """
    experiment, cls, config = read_experiment(conf, overrides)
    train = DataFolder(train_path)
    opened = open_upstream(upstream, train, dump)
    known = None if labelled is None else frozenset(read_table(labelled))

    def make() -> BaseTask:
        only = cached.in_both(cls.chosen_utts(config, train, "train"), known)
        part = SpeechDataset(train, dump / opened.kind / train.path.name, opened.inventory, cls.needs_of(config),
                             max_sec=experiment.train.max_sec, only=only)
        task = cls(config, opened, cls.labels_of(config, part))
        task.take_dev(DataFolder(dev_path))
        if init is not None:
            first = load_task(init)
            if type(first) is not cls or first.labels != task.labels:
                raise SpeechrepError(f"{init}: {type(first).__module__} with {len(first.labels)} labels",
                                     f"a checkpoint of {experiment.task} with the same {len(task.labels)} labels")
            try:
                task.load_state_dict(first.state_dict())
            except RuntimeError as error:
                raise SpeechrepError(f"{init}: other shapes ({str(error).splitlines()[1].strip()})",
                                     "a checkpoint on the same upstream with the same head") from None
        return task

    resolved = plain(experiment) | {"model": plain(config), "upstream": upstream,
                                    "upstream_digest": fingerprint(upstream, train, dump)}
    if init is not None:
        resolved |= {"init": str(init)}
    datasets = cached.opener(None if cache is None else cached.Cache(cache, train, dump))
    conduct(experiment.task, resolved, config, experiment.train, experiment.weights, make, train_path, dev_path,
            dump / opened.kind, exp, seed, device, labelled, datasets, watch, cls.needs_of(config))
