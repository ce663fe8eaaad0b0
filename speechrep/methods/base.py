"""The contract of a method: what the training loop, the upstream and the tasks may expect of a paper's file.

A file `methods/x.py` holds one frozen dataclass `Config` and one class `Method`, a subclass of the one below. Whatever
is trained is a method: a representation, a duration model, a vocoder.

Letters: B utterances, T samples, N frames, D features, U tokens, K codes, C channels, L layers.
"""

import importlib
import pkgutil
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from speechrep.data.dataset import SpeechDataset
from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError

Batch = dict[str, Any]
"""Tensors by name, padded with zeros at the end of the time axis; each padded tensor `x` has its `x_lengths` [B]."""


LAST = "last"
"""What `Method.selects` says where the best weights are the latest."""


class Method(nn.Module):
    """One paper.

    `needs` names the streams of a batch (see `speechrep.data.dataset`), first the one it hears: "feats", which may be
    standardised ("feats:speaker"), "audio" or "units:NAME" (whose Config then has `unit_frames`, feature frames a unit).
    `losses` names, for each phase, the losses that `forward` returns; a phase has an optimiser of its own over the
    parameters of `phase_parameters`. `across_batch` names the losses that compare across the whole batch: they change
    when a batch is split. A method with codes of its own also has `units(batch)`: ids [B, N, G] of G groups and lengths
    [B], which `speechrep units` writes in place of k-means.
    """

    Config: ClassVar[type]
    needs: ClassVar[tuple[str, ...]]
    losses: ClassVar[dict[str, tuple[str, ...]]]
    across_batch: ClassVar[frozenset[str]] = frozenset()
    utterance_level: ClassVar[bool] = False
    """Whether `layers` gives one vector an utterance, each layer [B, 1, D] and all lengths 1, as `frame_lengths` says too."""
    labels_only: ClassVar[bool] = False
    """Whether an utterance that is not labelled teaches nothing: minimal supervision then trains on the labelled ones alone."""
    selects: ClassVar[str] = "loss"
    """The value of the dev part by which the best weights are chosen: the least wins, of equal ones that of the least
    loss, then the first. LAST: the latest wins, where targets move while it learns, so that a loss that is least early, of
    targets that say little, tells nothing."""
    partial: bool = False
    """Whether a step may leave some parameters without a gradient."""

    def __init__(self, config: Any, inventory: Inventory):
        super().__init__()
        self.config, self.inventory = config, inventory
        self.needs, self.losses, self.selects = self.needs_of(config), self.losses_of(config), self.selects_of(config)

    @classmethod
    def needs_of(cls, config: Any) -> tuple[str, ...]:
        """The streams of a method so configured; all of `needs`, unless a method can do without some."""
        return cls.needs

    @classmethod
    def losses_of(cls, config: Any) -> dict[str, tuple[str, ...]]:
        """The phases and losses of a method so configured; all of `losses`, unless a method can leave some out."""
        return cls.losses

    @classmethod
    def selects_of(cls, config: Any) -> str:
        """By what the best weights of a method so configured are chosen; `selects`, unless a configuration decides."""
        return cls.selects

    @property
    def prompt_frames(self) -> int:
        """Frames of the prompt that training hears: the dataset then reads a window of so many, drawn anywhere in the
        prompt. 0 for the whole prompt."""
        return getattr(self.config, "prompt_frames", 0)

    def take_train(self, part: SpeechDataset) -> None:
        """Called with the training part before the first step, and not when a training goes on: what is to be known of it
        beforehand, such as statistics, goes into buffers."""

    def draw_weights(self, part: SpeechDataset) -> np.ndarray | None:
        """How likely each utterance of a part [B] is to be drawn, beside others: as many as there are, with replacement, for
        an epoch of training and for an evaluation. None takes each once."""
        return None

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw what is random in the targets (masks, crops) from `generator`, before anything is counted."""
        return batch

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        """Over how many terms each named loss sums on this prepared batch. The loop adds the counts over micro-batches
        and processes before the first backward pass and divides once, so that 1 x 8 equals 8 x 1."""
        raise TypeError(f"{type(self).__name__} does not say what its losses count")

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """Named losses of `phase`, each an unaveraged sum (a scalar tensor); keys as in `losses[phase]`."""
        raise TypeError(f"{type(self).__name__} has no losses")

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The frame features of every layer, each [B, N, D], and their lengths [B]; N = 1 of a method of whole utterances
        (see `utterance_level`).

        In fine-tuning from a layer on the modules below are in eval mode; so what is dropped there goes by the `training`
        of a module whose parameters belong there."""
        raise SpeechrepError(f"{type(self).__module__} has no frame features", "a method that represents speech")

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames that `layers` gives for inputs of these lengths (samples or feature frames) [B]."""
        raise SpeechrepError(f"{type(self).__module__} has no frame features", "a method that represents speech")

    def phase_parameters(self, phase: str) -> list[nn.Parameter]:
        """The parameters that the optimiser of `phase` moves."""
        return list(self.parameters())

    def after_step(self, step: int) -> None:
        """Called after each optimiser step: EMA teachers, temperatures."""

    def extras(self) -> dict[str, Any]:
        """Plain values that the checkpoint must hold beside configuration, inventory and weights."""
        return {}

    def take_extras(self, content: dict[str, Any]) -> None:
        """Take back from a checkpoint what `extras` gave and training went on changing."""

    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Named (sum, count) pairs that tell how training goes (accuracy, perplexity), computed on dev batches."""
        return {}

    def dev_share(self) -> Any:
        """What `metrics` gathered of this process's dev batches, given away once an evaluation; plain values, or None."""
        return None

    def dev_values(self, values: dict[str, float], shares: list[Any]) -> dict[str, float]:
        """Values of the dev part that are no means over batches, such as an error rate over pairs of utterances. `values` are
        the means, `shares` what each process's `dev_share` gave."""
        return {}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Why training is of no use any more, if the mean losses and metrics of dev at `step` show it: the loop then stops
        with this sentence. Say what was found and what a healthy run shows."""
        return None


def method_names() -> list[str]:
    """The methods there are: the files of this folder."""
    import speechrep.methods as folder
    return sorted(module.name for module in pkgutil.iter_modules(folder.__path__) if module.name != "base")


def find_method(name: str) -> type[Method]:
    """The `Method` of `speechrep/methods/NAME.py`."""
    if name not in method_names():
        raise SpeechrepError(f"method: {name}", f"one of {', '.join(method_names())}")
    return importlib.import_module(f"speechrep.methods.{name}").Method
