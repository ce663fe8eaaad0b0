"""Training a downstream task on an upstream, by the loop that trains methods."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechrep.config import apply_overrides, build, plain, read_yaml
from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder
from speechrep.tasks.base import BaseTask, find_task
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


def train_task(conf: Path, upstream: str, train_path: Path, dev_path: Path, dump: Path, exp: Path, seed: int = 0,
               device: str = "auto", overrides: list[str] | None = None) -> None:
    """Train the task that `conf` describes on `upstream` (see `Upstream.open`). `dump` has a sub-folder for each kind of
    features, with a sub-folder for each part."""
    experiment = build(Experiment, apply_overrides(read_yaml(conf), overrides or []), str(conf))
    cls = find_task(experiment.task)
    config = build(cls.Config, experiment.model, f"{conf}: model")
    train = DataFolder(train_path)
    opened = open_upstream(upstream, train, dump)

    def make() -> BaseTask:
        part = SpeechDataset(train, dump / opened.kind / train.path.name, opened.inventory, cls.needs_of(config),
                             max_sec=experiment.train.max_sec)
        return cls(config, opened, cls.labels_of(config, part))

    resolved = plain(experiment) | {"model": plain(config), "upstream": upstream}
    conduct(experiment.task, resolved, experiment.train, experiment.weights, make, train_path, dev_path,
            dump / opened.kind, exp, seed, device)
