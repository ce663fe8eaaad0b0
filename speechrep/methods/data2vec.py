"""data2vec for speech: predict what a slow copy of the model makes of the whole (Baevski et al., arXiv 2202.03555).

Student and teacher are the same transformer. The student hears an utterance with spans hidden; the teacher, whose
weights are a moving average of the student's, hears all of it. Where the input was hidden the student predicts the mean
of the teacher's top layers, which, other than units, holds the whole utterance and never stops improving.

Loss:
  regression    eq. 3 in the released form for speech: squared error summed over dimensions, divided by their square
                root, over hidden frames. Targets (3.3): feed-forward outputs before the residual, each channel
                normalised over the utterance, averaged over the `top` layers.

Where this file goes its own way. The teacher follows eq. 1; as in the released code it has the transformer alone,
shares the front end and copies the positional convolutions. Channel statistics of the targets leave padding out.
`front: mel` hears log-mel features instead of the waveform.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import LAST, Batch, Method as BaseMethod
from speechrep.nn.speech_encoder import EncoderSizes, SpeechEncoder
from speechrep.nn.teacher import Teacher, decay_at, spread, spread_collapsed


@dataclass(frozen=True)
class Config(EncoderSizes):
    """Sizes and choices of data2vec, the base size for speech by default (released configuration)."""

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
    """Layers whose mean is the target (4.2)."""
    first_decay: float = 0.999
    """Decay of the teacher's weights at the start (4.2)."""
    last_decay: float = 0.9999
    """What it rises to (4.2)."""
    decay_steps: int = 30000
    """Steps of the rise (4.2)."""
    guard_steps: int = 5000
    """Steps behind which targets or predictions that hardly vary stop the run (released code)."""


class Method(BaseMethod):
    """Masked encoder, regression head and teacher."""

    Config = Config
    needs = ("audio", "feats")
    losses = {"main": ("regression",)}
    selects = LAST

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        self.encoder = SpeechEncoder(config, inventory.mean, inventory.std)
        self.head = nn.Linear(config.dim, config.dim)
        self.teacher = Teacher(self.encoder.trunk, config.top)

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (config.need,)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the hidden spans."""
        return batch | {"hidden": self.encoder.draw_hidden(batch)}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"regression": int(batch["hidden"].sum())}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """audio [B, T] or feats [B, N, D], hidden [B, N'] -> the sum of the loss."""
        predictions, targets = self.predict(batch)
        return {"regression": (predictions - targets).square().sum() / math.sqrt(self.config.dim)}

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Predictions and targets [M, D] of a prepared batch's hidden frames, in float32."""
        frames, rows = self.encoder.hear(batch)
        _, x = self.encoder.enter(frames)
        hidden = rows.pack(batch["hidden"])
        targets = self.teacher.targets(x.detach(), rows)[hidden]
        outputs, _ = self.encoder.trunk.rows(self.encoder.hide(x, hidden), rows)
        return self.head(outputs[-1][hidden]).float(), targets

    def phase_parameters(self, phase: str) -> list[nn.Parameter]:
        """All but the teacher's, which follow."""
        return [*self.encoder.parameters(), *self.head.parameters()]

    def after_step(self, step: int) -> None:
        c = self.config
        self.teacher.follow(self.encoder.trunk, decay_at(step, c.first_decay, c.last_decay, c.decay_steps))

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Standard deviation of targets and predictions over hidden frames, and the share of the targets' variance that
        the predictions leave unexplained (1: no better than their mean)."""
        predictions, targets = self.predict(batch)
        count = len(targets)
        left = (predictions - targets).square().mean() / targets.var(0, correction=0).mean().clamp(min=1e-9)
        return {"target_std": (spread(targets) * count, count), "prediction_std": (spread(predictions) * count, count),
                "unexplained": (float(left) * count, count)}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        return spread_collapsed(values) if step >= self.config.guard_steps else None

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        return self.encoder.layers(batch)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.encoder.frame_lengths(lengths)
