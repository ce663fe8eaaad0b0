"""Mockingjay: a transformer that reconstructs masked frames from both sides (Liu et al., arXiv 1910.12638).

In each utterance 15 % of the frames are hidden, in spans of 7. By one draw an utterance, hidden frames are zeroed
(80 %), replaced by other frames of the utterance (10 %) or left as they are (10 %); the network predicts all of them.

Loss:
  reconstruction   L1 distance of the prediction to the frames that were hidden, over cells

Where this file goes its own way: log-mel of the dump without differences, standardised over the training part unless
`standardise_by` says more; blocks with norms before their branches; consecutive frames side by side (`stack`; the paper
stacks 3, its released small sizes do not). A span's replacement stands a random distance away in time. Padding is known
from lengths, never guessed from zeros, and counts nowhere.
"""

from dataclasses import dataclass

import torch

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.guards import flat
from speechrep.nn.hearing import Scope, need_of
from speechrep.nn.masking import generators_of, span_mask
from speechrep.nn.reconstruction import (Reconstructor, absolute_error, cells_inside, how_it_goes, replace_hidden,
                                         stack, stacked_lengths, widened)
from speechrep.nn.standardise import Standardise


@dataclass(frozen=True)
class Config:
    """Sizes and masks; the defaults are the paper's base size."""

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
    """Frames of a masked span (released configurations)."""
    zeroed: float = 0.8
    """Share of utterances whose masked frames are zeros (paper)."""
    copied: float = 0.1
    """Share of utterances whose masked frames are other frames; in the rest they stay (paper)."""
    guard_from: int = 300
    """Optimiser step from which predictions that hardly vary stop the run (assumption)."""

    def __post_init__(self):
        if self.stack < 1 or self.span < 1 or not 0 < self.share < 1 or self.zeroed + self.copied > 1:
            raise ValueError("stack and span must be at least 1, share within 0 and 1, zeroed + copied at most 1")


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
        """Draw each utterance's masked spans and what stands in them: `real` and `heard` [B, N, D], `cells` [B, N, D]
        True where the loss looks, `frames` [B]."""
        c, draws = self.config, generators_of(batch["seeds"])
        real, frames = self._frames(batch)
        hidden = widened(span_mask(frames, c.share, c.span, draws), real.shape[1])
        heard = replace_hidden(real, hidden, frames, draws, c.zeroed, c.copied)
        inside = cells_inside(batch["feats_lengths"], *batch["feats"].shape[1:], c.stack)
        return batch | {"real": real, "heard": heard, "cells": hidden[..., None] & inside, "frames": frames}

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
