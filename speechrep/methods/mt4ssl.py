"""MT4SSL: offline units and an online teacher as targets at once (Ma et al., arXiv 2211.07321).

HuBERT guesses units that k-means made before training and that never change; data2vec predicts a moving average of
itself, which changes all the time. Here one student does both on the same hidden frames: it has the units' stability
early and the teacher's context late.

Losses, with weights of 1 (released code), the first two over the same hidden frames:
  units         cross-entropy of a linear head over units; no cosine, no temperature, other than HuBERT
  regression    squared error to the teacher's targets summed over dimensions, divided by their square root, as data2vec
  visible       the units' loss over visible frames, left out unless `visible` is set

Where this file goes its own way. Every utterance is whole; the released code crops to the shortest. Units may have any
rate: a frame takes the one that is said at its middle. The paper's number of units is not known here: 500 is an
assumption. Either loss is left out by a weight of 0. `front: mel` hears log-mel features instead of the waveform.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import LAST, Batch, Method as BaseMethod
from speechrep.nn.packing import Rows
from speechrep.nn.speech_encoder import EncoderSizes, SpeechEncoder
from speechrep.nn.teacher import Teacher, decay_at, spread, spread_collapsed
from speechrep.nn.unit_labels import frame_labels, guesses, guesses_collapsed, unit_losses, unit_metrics


@dataclass(frozen=True)
class Config(EncoderSizes):
    """Sizes and choices of MT4SSL, the base size by default (released configuration)."""

    units: str = "mfcc"
    """The units to guess: the file units.NAME of the data folders."""
    codes: int = 500
    """How many units there are (assumption: those of HuBERT's second iteration)."""
    unit_rate_hz: float = 50.0
    """Units a second: 100 where they are clusters of MFCC frames of 10 ms."""
    front_norm: Literal["group", "layer"] = "layer"
    """Norm of the waveform's convolutions: over time in the first, or over channels in each."""
    unit_audio: bool = True
    """Whether each waveform is brought to zero mean and unit variance."""
    front_gradient: float = 1.0
    """Factor on the gradient into the front end."""
    positions: Literal["conv", "stack"] = "stack"
    """Positions from one wide convolution or from a stack of narrow ones."""
    position_kernel: int = 19
    """Width of the positional convolutions in frames."""
    input_dropout: float = 0.0
    """Dropout of the projected front end."""
    least_spans: int = 1
    """Hidden spans that every utterance gets."""
    top: int = 8
    """Layers of the teacher whose mean is the target."""
    first_decay: float = 0.999
    """Decay of the teacher's weights at the start."""
    last_decay: float = 0.9999
    """What it rises to."""
    decay_steps: int = 30000
    """Steps of the rise."""
    visible: bool = False
    """Whether the units of visible frames are guessed, too (HuBERT's eq. 3 with alpha below 1)."""
    guard_steps: int = 5000
    """Steps behind which targets, predictions or guesses that hardly vary stop the run."""


class Method(BaseMethod):
    """Masked encoder, unit head, regression head and teacher."""

    Config = Config
    needs = ("audio", "feats", "units:mfcc")
    losses = {"main": ("regression", "units", "visible")}
    selects = LAST

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        self.encoder = SpeechEncoder(config, inventory.mean, inventory.std)
        self.unit_head = nn.Linear(config.dim, config.codes)
        self.regression_head = nn.Linear(config.dim, config.dim)
        self.teacher = Teacher(self.encoder.trunk, config.top)

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return config.need, f"units:{config.units}"

    @classmethod
    def losses_of(cls, config: Config) -> dict[str, tuple[str, ...]]:
        return cls.losses if config.visible else {"main": ("regression", "units")}

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the hidden spans and look up the units of all frames."""
        c, features = self.config, self.inventory.features
        labels = frame_labels(self.encoder, batch, c.unit_rate_hz, c.codes, features["hop_samples"],
                              features["rate_hz"])
        return batch | {"hidden": self.encoder.draw_hidden(batch), "labels": labels}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        hidden = int(batch["hidden"].sum())
        counts = {"regression": hidden, "units": hidden,
                  "visible": int(self.encoder.lengths_of(batch).sum()) - hidden}
        return {name: counts[name] for name in self.losses["main"]}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """audio [B, T] or feats [B, N, D], hidden and labels [B, N'] -> sums of the losses."""
        last, rows, targets = self.encode(batch)
        errors = self.regression_head(last[rows.pack(batch["hidden"])]).float() - targets
        return unit_losses(self.unit_head, last, rows, batch, self.losses["main"][1:]) | {
            "regression": errors.square().sum() / math.sqrt(self.config.dim)}

    def encode(self, batch: Batch) -> tuple[torch.Tensor, Rows, torch.Tensor]:
        """The last layer of a prepared batch with its spans hidden [M, D], its rows, and the teacher's targets of the
        hidden frames [K, D] in float32."""
        frames, rows = self.encoder.hear(batch)
        _, x = self.encoder.enter(frames)
        hidden = rows.pack(batch["hidden"])
        targets = self.teacher.targets(x.detach(), rows)[hidden]
        outputs, _ = self.encoder.trunk.rows(self.encoder.hide(x, hidden), rows)
        return outputs[-1], rows, targets

    def phase_parameters(self, phase: str) -> list[nn.Parameter]:
        """All but the teacher's, which follow."""
        return [p for module in (self.encoder, self.unit_head, self.regression_head) for p in module.parameters()]

    def after_step(self, step: int) -> None:
        c = self.config
        self.teacher.follow(self.encoder.trunk, decay_at(step, c.first_decay, c.last_decay, c.decay_steps))

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """HuBERT's metrics of units and data2vec's of the regression."""
        last, rows, targets = self.encode(batch)
        predictions = self.regression_head(last[rows.pack(batch["hidden"])]).float()
        count = len(targets)
        return unit_metrics(*guesses(self.unit_head, last, rows, batch["labels"], batch["hidden"])) | {
            "target_std": (spread(targets) * count, count), "prediction_std": (spread(predictions) * count, count)}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        if step < self.config.guard_steps:
            return None
        return guesses_collapsed(values) or spread_collapsed(values)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        return self.encoder.layers(batch)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.encoder.frame_lengths(lengths)
