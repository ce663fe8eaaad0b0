"""HuBERT: guess the cluster of hidden frames (Hsu et al., arXiv 2106.07447).

The encoder of wav2vec 2.0; spans of its frames are hidden, and the transformer's output there must tell which unit an
offline k-means gave them. The first iteration's units are clusters of MFCC, the second's of a layer of the first model.

Losses:
  masked     eq. 1 and 3: cross-entropy over hidden frames of cosine over temperature between a projected frame and a
             learned vector for each unit
  visible    the same over visible frames, the other term of eq. 3; left out unless `visible` is set
  penalty    squared activations of the front end (released code), over frames and channels

Where this file goes its own way. Frames that are not hidden enter no loss and are not computed for it by default
(released configuration: weight 0); the small size guesses them, too, from which it learns in minutes what units sound
like, before it learns what surrounds them. Units may have any rate: a frame takes the one that is said at its middle.
`front: mel` hears log-mel features instead of the waveform, which Fast-HuBERT (arXiv 2309.13860) reports to be several
times cheaper.
"""

from dataclasses import dataclass

import torch

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.packing import Rows
from speechrep.nn.speech_encoder import EncoderSizes, SpeechEncoder
from speechrep.nn.unit_labels import CosineHead, frame_labels, guesses, guesses_collapsed, unit_losses, unit_metrics


@dataclass(frozen=True)
class Config(EncoderSizes):
    """Sizes and choices of HuBERT, the base size by default."""

    units: str = "mfcc"
    """The units to guess: the file units.NAME of the data folders."""
    codes: int = 100
    """How many units there are (3.1: 100 in the first iteration, 500 in the second)."""
    unit_rate_hz: float = 50.0
    """Units a second: 100 where they are clusters of MFCC frames of 10 ms."""
    mask_share: float = 0.8
    """Frames that would be hidden if spans never overlapped, as a share of all (released configuration)."""
    joint_dim: int = 256
    """Dimension of the space of frames and units (4.2)."""
    temperature: float = 0.1
    """What cosines are divided by (4.2)."""
    visible: bool = False
    """Whether the units of visible frames are guessed, too (eq. 3 with alpha below 1)."""
    guard_steps: int = 5000
    """Steps behind which guesses that are all one unit stop the run (assumption: data2vec's number)."""


class Method(BaseMethod):
    """Masked encoder and unit head."""

    Config = Config
    needs = ("audio", "feats", "units:mfcc")
    losses = {"main": ("masked", "visible", "penalty")}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        self.encoder = SpeechEncoder(config, inventory.mean, inventory.std)
        self.head = CosineHead(config.dim, config.codes, config.joint_dim, config.temperature)

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return config.need, f"units:{config.units}"

    @classmethod
    def losses_of(cls, config: Config) -> dict[str, tuple[str, ...]]:
        return cls.losses if config.visible else {"main": ("masked", "penalty")}

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the hidden spans and look up the units of all frames."""
        c, features = self.config, self.inventory.features
        labels = frame_labels(self.encoder, batch, c.unit_rate_hz, c.codes, features["hop_samples"],
                              features["rate_hz"])
        return batch | {"hidden": self.encoder.draw_hidden(batch), "labels": labels}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        frames, hidden = int(self.encoder.lengths_of(batch).sum()), int(batch["hidden"].sum())
        counts = {"masked": hidden, "visible": frames - hidden, "penalty": frames * self.config.front_dim}
        return {name: counts[name] for name in self.losses["main"]}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """audio [B, T] or feats [B, N, D], hidden and labels [B, N'] -> sums of the losses."""
        last, rows, frames = self.encode(batch)
        return unit_losses(self.head, last, rows, batch, self.losses["main"][:-1]) | {
            "penalty": frames.float().square().sum()}

    def encode(self, batch: Batch) -> tuple[torch.Tensor, Rows, torch.Tensor]:
        """The last layer of a prepared batch with its spans hidden [M, D], its rows, and the front end's frames."""
        frames, rows = self.encoder.hear(batch)
        x = self.encoder.hide(self.encoder.enter(frames)[1], rows.pack(batch["hidden"]))
        return self.encoder.trunk.rows(x, rows)[0][-1], rows, frames

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Accuracy over hidden frames, that of the most frequent unit, perplexity of the units guessed."""
        last, rows, _ = self.encode(batch)
        return unit_metrics(*guesses(self.head, last, rows, batch["labels"], batch["hidden"]))

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        return guesses_collapsed(values) if step >= self.config.guard_steps else None

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        return self.encoder.layers(batch)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.encoder.frame_lengths(lengths)
