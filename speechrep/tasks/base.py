"""The contract of a trained downstream task: an upstream, frozen or fine-tuned, and a head, trained as methods are.

A file `tasks/x.py` holds a frozen dataclass `Config`, a `HeadConfig`, and a class `Task`. The checkpoint of a task holds
its upstream's weights too, so that it serves alone. What a task predicts is written to files keyed by utterance, and those
files alone are scored (see `speechrep.tasks.predict`).
"""

import importlib
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from speechrep.config import build, plain
from speechrep.data.dataset import SpeechDataset, spread, to_device
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch, Method
from speechrep.nn.masking import pad_mask
from speechrep.nn.whitening import whitening_of
from speechrep.train import checkpoint
from speechrep.upstream import Upstream


WHITENED_SEC = 7200.0
"""Of how much of the training part at most it is found out how to whiten."""
Lines = dict[str, dict[str, str]]
"""File name -> utterance -> line, as a prediction is kept."""


@dataclass(frozen=True)
class Scored:
    """What the files of a prediction are worth: entries as `speechrep.metrics.score.metric` makes them, columns of each
    utterance, and notes."""

    metrics: dict[str, dict[str, Any]]
    per_utt: dict[str, dict[str, Any]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ZeroShot:
    """What a task that trains nothing asks of a corpus. The file `tasks/x.py` holds `ZERO_SHOT`, a tuple of these, of
    which the first that a corpus can serve is taken; `speechrep score x` does the task."""

    options: dict[str, str]
    """Option of `speechrep score` -> the folder below data/ that it names, such as {"--test": "test"}."""
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Folder below data/ -> files without which there is nothing to score."""
    main_metrics: tuple[str, ...] = ()
    """The metrics by which systems are compared; the score's first where none is named."""
    superb: dict[str, str] = field(default_factory=dict)
    """As of `BaseTask`, of options of the verb: "--option=value" -> the habit."""
    paths: dict[str, str] = field(default_factory=dict)
    """Option of `speechrep score` -> the file below data/ that it names, such as {"--items": "test/items.item"}."""
    frame_level: bool = True
    """As of `BaseTask`."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What the configuration of every task says of its upstream."""

    finetune: bool = False
    """Train the upstream's weights too; False keeps it frozen, in eval mode and in full precision."""
    finetune_from: int = 0
    """Where above 0, the upstream stays frozen in all that the layers below this number are made with (see
    `Upstream.parameters_from`): nothing is differentiated there."""
    finetune_after: int = 0
    """In so many steps the head alone is trained (wav2vec 2.0: 10,000), until it is of some use; a new one's gradients
    spoil what it stands on (Kumar et al., arXiv 2202.10054)."""
    layer: Literal["weighted", "last"] = "weighted"
    """Which features the head sees: the learned softmax-weighted sum of all layers as wide as the first (SUPERB's way), or
    the last."""
    whiten: bool = False
    """Make the features' dimensions uncorrelated, of mean 0 and variance 1 on the training part, before the head sees
    them. What a linear head can tell is the same; how many steps it needs depends far less on how features are rotated and
    scaled (LeCun et al. 1998, Efficient BackProp). SUPERB does not."""


class BaseTask(Method):
    """A head on the layers of an upstream, configured by a `HeadConfig`.

    `frame_level`: whether the task is of frames: an upstream that gives one vector an utterance then cannot serve it.
    `tells_speakers`: whether it is to say who speaks: an upstream that is told which utterances are of one speaker cannot
    serve it.
    `pools`: whether the head gives the same for the mean of an utterance's frames as for the frames, as one does that is
    affine up to its own mean over them; of a frozen upstream the means are then all that it is given.
    `labels` are the names of classes or symbols in the order of their ids. `needs_of(config)` names the streams of the
    labels; `needs` of a task in hand begins with what its upstream hears.

    What `speechrep suite` asks. `parts`: the folders below data/ for training, dev and test, of which the first triple
    that a corpus has is taken; `parts_of(config)` where they depend on the configuration. `files`: by part (train,
    dev, test) those that its folder must hold beside the streams of `needs_of`, such as {"test": ("trials",)}.
    `decode_options`: option of `speechrep decode` -> the part whose folder it names. `main_metrics`: by which systems
    are compared; the score's first where empty. `superb`: the habits of the reference that change numbers and are
    taken on with `--superb-compatible` alone, "key=value" for `--set` -> the habit in a sentence; `superb_of(config)` where
    they depend on the configuration.
    """

    parts: tuple[tuple[str, str, str], ...] = (("train", "dev", "test"),)
    files: dict[str, tuple[str, ...]] = {}
    decode_options: dict[str, str] = {}
    main_metrics: tuple[str, ...] = ()
    superb: dict[str, str] = {}
    pools = False
    frame_level = True
    tells_speakers = False

    def __init__(self, config: Any, upstream: Upstream, labels: tuple[str, ...]):
        super().__init__(config, upstream.inventory)
        if self.frame_level:
            upstream.require_frames(type(self).__module__.rpartition(".")[2])
        if self.tells_speakers:
            upstream.require_unknown_speakers(type(self).__module__.rpartition(".")[2])
        self.needs = (*upstream.needs, *self.needs)
        self.upstream, self.labels = upstream, labels
        # A fine-tuned method has parts that its layers do not need: decoders, heads.
        self.partial = config.finetune
        upstream.requires_grad_(config.finetune)
        self.still: list[nn.Module] = []
        """What stays in eval mode of an upstream that is trained."""
        self.steps_done = 0
        """Of this training."""
        if not config.finetune and (config.finetune_from or config.finetune_after):
            raise SpeechrepError("model.finetune_from or model.finetune_after with an upstream that is frozen",
                                 "model.finetune=true beside it")
        if config.finetune_from:
            self._finetune_from(config.finetune_from)
        self.chosen = chosen_layers(upstream, config.layer)
        self.layer_scalars = nn.Parameter(torch.zeros(len(self.chosen)), requires_grad=len(self.chosen) > 1)
        self.dim = upstream.dims[self.chosen[0]]
        if config.whiten:
            self.register_buffer("centre", torch.zeros(self.dim))
            self.register_buffer("whitening", torch.zeros(self.dim, self.dim))
        self.settled: dict[str, float] = {}
        """What evaluation on dev chose beside the weights, such as a threshold; kept in the checkpoint."""
        self.best: dict[str, Any] = {}
        """By what the weights in a checkpoint were chosen on dev (see `speechrep.train.loop.Trained`)."""

    def train(self, mode: bool = True) -> "BaseTask":
        super().train(mode)
        for module in self.still if self.finetunes else (self.upstream,):
            module.eval()
        return self

    @property
    def finetunes(self) -> bool:
        """Whether the step at hand trains the upstream."""
        return self.config.finetune and self.steps_done >= self.config.finetune_after

    def after_step(self, step: int) -> None:
        self.steps_done = step

    def _finetune_from(self, first: int) -> None:
        trained = self.upstream.parameters_from(first)
        self.upstream.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_()
        self.still = [module for module in self.upstream.modules() if next(module.parameters(), None) is not None
                      and not any(parameter.requires_grad for parameter in module.parameters())]

    def features(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head sees: [B, N, D] and lengths [B]. Where the batch has the stream `layers` [B, N, L, D], those
        chosen of a frozen upstream (see `speechrep.tasks.cached`), nothing is computed."""
        x, lengths = self._sum_of_layers(batch)
        if self.config.whiten:
            with torch.autocast(x.device.type, enabled=False):
                x = (x.float() - self.centre) @ self.whitening
            x = x.masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0)
        return x, lengths

    def _sum_of_layers(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        if "layers" in batch:
            # In bf16 the error of what varies most would drown what varies least, which whitening brings out.
            with torch.autocast(batch["layers"].device.type, enabled=False):
                return batch["layers"].movedim(2, -1) @ self.layer_scalars.softmax(0), batch["layers_lengths"]
        device = self.layer_scalars.device.type
        # One that is frozen gives what a cache would keep, so that no number depends on whether there was room for one.
        with torch.set_grad_enabled(self.finetunes and torch.is_grad_enabled()), torch.autocast(
                device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device) and self.config.finetune):
            layers, lengths = self.upstream.layers(batch)
        weights = self.layer_scalars.softmax(0)
        return sum(weight * layers[i] for weight, i in zip(weights, self.chosen)), lengths

    @torch.no_grad()
    def take_train(self, part: SpeechDataset) -> None:
        """Find out how to whiten, from the plain mean of the layers, with which training begins. Where weights of an
        earlier training are the first, its whitening is kept: their head knows no other."""
        if not self.config.whiten or self.whitening.any():
            return
        training = self.training
        self.eval()
        rows = (self._rows(to_device(batch, self.centre.device)) for batch in spread(part, WHITENED_SEC))
        centre, whitening = whitening_of(rows)
        self.centre.copy_(centre), self.whitening.copy_(whitening)
        self.train(training)

    def _rows(self, batch: Batch) -> torch.Tensor:
        """The frames of a batch one after another [R, D]; each utterance's mean where the head sees no more."""
        x, lengths = self._sum_of_layers(batch)
        inside = ~pad_mask(lengths, x.shape[1])
        return (x * inside[..., None]).sum(1) / lengths[:, None] if self.pools_of(self.config) else x[inside]

    def heard_lengths(self, batch: Batch) -> torch.Tensor:
        """The frames [B] that `features` will give, known before anything is computed."""
        if "layers" in batch:
            return batch["layers_lengths"]
        return self.frame_lengths(batch[f"{self.upstream.needs[0].partition(':')[0]}_lengths"])

    @classmethod
    def parts_of(cls, config: Any) -> tuple[tuple[str, str, str], ...]:
        """The folders for training, dev and test of a task so configured; `parts`, unless a configuration decides."""
        return cls.parts

    @classmethod
    def superb_of(cls, config: Any) -> dict[str, str]:
        """The habits that a task so configured can take on; `superb`, unless a configuration decides."""
        return cls.superb

    @classmethod
    def pools_of(cls, config: Any) -> bool:
        """Whether the head of a task so configured needs no more than means; `pools`, unless a configuration decides."""
        return cls.pools

    @classmethod
    def chosen_utts(cls, config: Any, folder: DataFolder, part: str) -> frozenset[str] | None:
        """The utterances of `folder` that serve as `part`, train, dev, test or cohort; None for all. For tasks whose
        folds share a folder, so that features are computed once."""
        return None

    def decode_needs(self, part: str) -> tuple[str, ...]:
        """The streams, beside what the upstream hears, without which an utterance of `part`, test or cohort, is not decoded."""
        return self.needs[len(self.upstream.needs):]

    def files_beside(self, folder: DataFolder, lines: Lines, cohort: tuple[DataFolder, Lines] | None) -> dict[str, str]:
        """File name -> text of what else a prediction of `folder` leaves; `lines` is what `predict` said of all of it.
        cohort: the same of another folder, against which scores are normalised, where one was named."""
        if cohort is not None:
            raise SpeechrepError(f"{type(self).__module__} with a cohort", "a task of verification", "leave --cohort out")
        return {}

    def take_dev(self, folder: DataFolder) -> None:
        """Called before training with the part that chooses the weights, whose tables are not all streams of a batch."""

    @staticmethod
    def labels_of(config: Any, train: SpeechDataset) -> tuple[str, ...]:
        """The classes or symbols of the training part; `train` has the streams of `needs_of(config)`."""
        raise SpeechrepError("a task without labels")

    @classmethod
    def obstacle(cls, config: Any, folders: dict[str, DataFolder]) -> str:
        """Why the labels of these folders, by part, cannot serve, "" where they can. All streams of `needs_of` and all
        of `files` are there when it is asked."""
        return ""

    @classmethod
    def folds(cls, config: Any, folders: dict[str, DataFolder]) -> tuple[str, ...]:
        """The "key=value" of each of several trainings whose predictions are joined into one, such as model.fold=1; ()
        where one training is the task."""
        return ()

    def predict(self, batch: Batch) -> dict[str, list[str]]:
        """File name -> a line for each utterance of the batch: `hyp`, what the task says, `ref`, what is true."""
        raise SpeechrepError(f"{type(self).__module__} predicts nothing by utterance", "a task with `predict`")

    @staticmethod
    def score(folder: Path) -> Scored:
        """The worth of the files that `predict` left in `folder`. Raises `SpeechrepError` for a missing or doubled
        utterance."""
        raise SpeechrepError("a task without a score of its own", "one with `score`",
                             "try `speechrep score recognition`")

    def extras(self) -> dict[str, Any]:
        method = self.upstream.method
        name = None if method is None else type(method).__module__.rpartition(".")[2]
        config = None if method is None else plain(method.config)
        return {"labels": list(self.labels), "settled": dict(self.settled),
                "upstream": {"spec": self.upstream.spec, "method": name, "config": config}}

    def take_extras(self, content: dict[str, Any]) -> None:
        self.settled, self.steps_done = dict(content.get("settled", {})), content.get("step", 0)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.upstream.frame_lengths(lengths)


def chosen_layers(upstream: Upstream, layer: str) -> list[int]:
    """The layers that a task sees: for "weighted" all that are as wide as the first, for "last" that one."""
    count = len(upstream.dims)
    return [i for i in range(count) if upstream.dims[i] == upstream.dims[0]] if layer == "weighted" else [count - 1]


def task_names() -> list[str]:
    """The trained tasks there are: the files of this folder that define a `Task`."""
    import speechrep.tasks as folder
    return sorted(module.name for module in pkgutil.iter_modules(folder.__path__)
                  if hasattr(importlib.import_module(f"speechrep.tasks.{module.name}"), "Task"))


def zero_shot_tasks() -> dict[str, tuple[ZeroShot, ...]]:
    """The tasks that train nothing: the files of this folder that hold `ZERO_SHOT`, by name."""
    import speechrep.tasks as folder
    modules = {module.name: importlib.import_module(f"speechrep.tasks.{module.name}")
               for module in pkgutil.iter_modules(folder.__path__)}
    return {name: module.ZERO_SHOT for name, module in sorted(modules.items()) if hasattr(module, "ZERO_SHOT")}


def find_task(name: str) -> type[BaseTask]:
    """The `Task` of `speechrep/tasks/NAME.py`."""
    if name not in task_names():
        raise SpeechrepError(f"task: {name}", f"one of {', '.join(task_names())}")
    return importlib.import_module(f"speechrep.tasks.{name}").Task


def load_task(path: str | Path, device: str | torch.device = "cpu") -> BaseTask:
    """The task in a checkpoint, in eval mode."""
    content = checkpoint.load(path, device)
    if "upstream" not in content:
        raise SpeechrepError(f"{path}: the checkpoint of a method, {content['method']}", "the checkpoint of a task",
                             "name the best.pt of a folder that `speechrep train` made")
    inventory = checkpoint.load_inventory(content)
    made = content["upstream"]
    upstream = Upstream.build(made["spec"], made["method"], made["config"], inventory, device)
    cls = find_task(content["method"])
    task = cls(build(cls.Config, content["config"], f"{path}: config"), upstream, tuple(content["labels"]))
    task.load_state_dict(content["model"])
    task.take_extras(content)
    task.best = content.get("best", {})
    return task.to(device).eval()
