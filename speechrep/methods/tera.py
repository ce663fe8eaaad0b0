"""TERA: reconstruction of frames altered in time, in frequency and in magnitude (Liu et al., arXiv 2007.06028).

Time: as in Mockingjay, 15 % of the frames in spans of 7 are zeroed, replaced or kept, by one draw an utterance (80, 10,
10 %). Frequency: one band of neighbouring channels, up to a fifth of them, is zeroed in the whole utterance. Magnitude:
with some probability noise is added to all frames (off by default, as in the released configuration).

Loss:
  reconstruction   L1 distance of the prediction to the unaltered frames, over hidden frames and the hidden band

Where this file goes its own way: log-mel of the dump, standardised over the training part unless `standardise_by` says
more; blocks with norms before their branches; consecutive frames may stand side by side (`stack`). Where noise alone
was added nothing is predicted: as in the released code the loss looks at masked cells only. Padding is known from
lengths and counts nowhere.
"""

from dataclasses import dataclass

import torch

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.guards import flat
from speechrep.nn.hearing import Scope, need_of
from speechrep.nn.masking import generators_of, span_mask
from speechrep.nn.reconstruction import (Reconstructor, absolute_error, band_mask, cells_inside, how_it_goes,
                                         replace_hidden, stack, stacked_lengths, widened)
from speechrep.nn.standardise import Standardise


@dataclass(frozen=True)
class Config:
    """Sizes and alterations; the defaults are the paper's base size."""

    dim: int = 768
    """Width of the transformer (released base configuration)."""
    layers: int = 3
    """Blocks (released base configuration)."""
    heads: int = 12
    """Attention heads (released base configuration)."""
    local: bool = False
    """Every block begins with a time-delay block over neighbouring frames, norms stand before the branches, and positions are
    from a convolution: it trains in minutes what attention learns in hours. False is the paper's way."""
    dropout: float = 0.1
    """Dropout of the blocks (released base configuration)."""
    standardise_by: Scope = "part"
    """Within what log-mel is standardised: the training part, each utterance (s3prl's configurations), or each speaker."""
    stack: int = 1
    """Feature frames side by side in one frame of the transformer."""
    share: float = 0.15
    """Share of the frames in masked spans, overlaps counted twice (paper)."""
    span: int = 7
    """Frames of a masked span (paper)."""
    zeroed: float = 0.8
    """Share of utterances whose masked frames are zeros (paper)."""
    copied: float = 0.1
    """Share of utterances whose masked frames are other frames; in the rest they stay (paper)."""
    widest_band: float = 0.2
    """Widest band of hidden channels as a share of all (paper)."""
    noise: float = 0.0
    """Probability that noise is added to an utterance; 0.15 in the released configuration that has it."""
    noise_std: float = 0.2
    """Standard deviation of that noise, in standard deviations of the features (released configuration)."""
    guard_from: int = 300
    """Optimiser step from which predictions that hardly vary stop the run (assumption)."""

    def __post_init__(self):
        if self.stack < 1 or self.span < 1 or not 0 < self.share < 1 or self.zeroed + self.copied > 1:
            raise ValueError("stack and span must be at least 1, share within 0 and 1, zeroed + copied at most 1")
        if not (0 <= self.widest_band < 1 and 0 <= self.noise <= 1):
            raise ValueError("widest_band must be at least 0 and below 1, noise within 0 and 1")


class Method(BaseMethod):
    """Transformer and reconstruction head."""

    Config = Config
    needs = ("feats",)
    losses = {"main": ("reconstruction",)}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        self.standardise = Standardise(inventory.mean, inventory.std)
        self.network = Reconstructor(len(inventory.mean) * c.stack, c.dim, c.layers, c.heads, c.dropout, c.local)

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (need_of(True, config.standardise_by),)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw each utterance's alterations: `real` and `heard` [B, N, D], `cells` [B, N, D] True where the loss looks,
        `frames` [B]."""
        c, draws = self.config, generators_of(batch["seeds"])
        real, frames = self._frames(batch)
        hidden = widened(span_mask(frames, c.share, c.span, draws), real.shape[1])
        heard = replace_hidden(real, hidden, frames, draws, c.zeroed, c.copied)
        band = band_mask(batch["feats"].shape[2], c.widest_band, draws).to(real.device).repeat(1, c.stack)[:, None]
        heard = heard.masked_fill(band, 0)
        inside = cells_inside(batch["feats_lengths"], *batch["feats"].shape[1:], c.stack)
        if c.noise:
            heard = heard + self._noise(heard, frames, draws) * inside
        return batch | {"real": real, "heard": heard, "cells": (hidden[..., None] | band) & inside, "frames": frames}

    def _noise(self, x: torch.Tensor, frames: torch.Tensor, draws: list[torch.Generator]) -> torch.Tensor:
        noise = torch.zeros(x.shape)
        for row, length, draw in zip(noise, frames.tolist(), draws):
            if float(torch.rand((), generator=draw)) < self.config.noise:
                row[:length] = self.config.noise_std * torch.randn(length, x.shape[2], generator=draw)
        return noise.to(x.device)

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"reconstruction": float(batch["cells"].sum())}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """heard, real and cells [B, N, D] -> the absolute error summed over cells."""
        made = self.network(batch["heard"], batch["frames"])
        return {"reconstruction": absolute_error(made, batch["real"], batch["cells"])}

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """The loss of predicting the mean, and how much predictions and targets vary."""
        return how_it_goes(self.network(batch["heard"], batch["frames"]), batch["real"], batch["cells"])

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Predictions that hardly vary."""
        return flat(values) if step >= self.config.guard_from else None

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return stacked_lengths(lengths, self.config.stack)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        x, frames = self._frames(batch)
        return self.network.layers(x, frames), frames

    def _frames(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.standardise(batch["feats"], batch["feats_lengths"])
        return stack(x, self.config.stack), self.frame_lengths(batch["feats_lengths"])
