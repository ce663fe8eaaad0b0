"""DeCoAR 2.0: masked reconstruction through a codebook (Ling & Liu, arXiv 2012.06659).

A transformer sees a spectrogram in which spans of frames are replaced by a learned vector. Its output passes through
a codebook of two groups (straight-through Gumbel-softmax), and from the codes alone a small network reconstructs the
hidden frames. Features are taken before the codebook.

Losses:
  reconstruction   L1 distance of the prediction to the hidden frames, over cells
  diversity        (G K - sum of perplexities) / (G K) of the mean softmax over all frames of the batch, so that codes
                   are used alike; as in wav2vec 2.0 (arXiv 2006.11477, eq. 4)

Training code was never released. Assumptions: what a masked frame is replaced by, how spans are drawn (as in wav2vec
2.0), the weight of the diversity loss (0.1), and the course of the temperature (wav2vec 2.0's). Log-mel is that of the
dump, standardised over the training part, and as released over the utterance with `standardise_by: utterance`;
consecutive frames may stand side by side (`stack`).
"""

from dataclasses import dataclass

import torch
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.guards import few_codes, flat
from speechrep.nn.hearing import Scope, need_of
from speechrep.nn.masking import generators_of, pad_mask, span_mask
from speechrep.nn.quantizers import GumbelQuantizer, code_counts, diversity, gumbel_noise, perplexity
from speechrep.nn.reconstruction import (SpectrumHead, absolute_error, cells_inside, how_it_goes, stack,
                                         stacked_lengths, widened)
from speechrep.nn.standardise import Standardise
from speechrep.nn.trunk import Trunk


@dataclass(frozen=True)
class Config:
    """Sizes and masks; the defaults are the released model's."""

    dim: int = 768
    """Width of the transformer (released model)."""
    layers: int = 12
    """Layers (released model)."""
    heads: int = 12
    """Attention heads (released model)."""
    ffn_dim: int = 3072
    """Width of the feed-forward networks (released model)."""
    kernel: int = 128
    """Frames that the convolution of positions sees (released model)."""
    position_groups: int = 16
    """Groups of that convolution (released model)."""
    local: bool = False
    """Every layer begins with a time-delay block over neighbouring frames, and norms stand before the branches. False is the
    paper's way."""
    dropout: float = 0.1
    """Dropout of branches, input and attention weights."""
    layerdrop: float = 0.05
    """Share of layers that a training step leaves out (released model)."""
    standardise_by: Scope = "part"
    """Within what log-mel is standardised: the training part, each utterance (s3prl's configurations), or each speaker."""
    stack: int = 1
    """Feature frames side by side in one frame of the transformer."""
    start: float = 0.065
    """Spans per frame (assumption: wav2vec 2.0's)."""
    span: int = 20
    """Frames of a hidden span (assumption)."""
    groups: int = 2
    """Groups of the codebook (paper)."""
    codes: int = 320
    """Codes of a group (paper)."""
    temperature: tuple[float, float, float] = (2.0, 0.5, 0.999995)
    """First and last temperature of the Gumbel-softmax, and its factor in each optimiser step (assumption: wav2vec
    2.0's)."""
    least_perplexity: float = 4.0
    """Mean perplexity of the codebook's groups below which a run has collapsed (assumption)."""
    guard_from: int = 300
    """Optimiser step from which the guards against collapse stop a run (assumption)."""

    def __post_init__(self):
        if self.stack < 1 or self.span < 1 or not 0 < self.start < 1:
            raise ValueError("stack and span must be at least 1, start within 0 and 1")


class Method(BaseMethod):
    """Transformer, codebook and reconstruction."""

    Config = Config
    needs = ("feats",)
    losses = {"main": ("reconstruction", "diversity")}
    across_batch = frozenset({"diversity"})

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        width = len(inventory.mean) * c.stack
        self.standardise = Standardise(inventory.mean, inventory.std)
        self.enter = nn.Linear(width, c.dim)
        self.mask = nn.Parameter(torch.empty(c.dim).uniform_())
        self.trunk = Trunk(c.layers, c.dim, c.heads, c.ffn_dim, c.dropout, c.dropout, layerdrop=c.layerdrop,
                           norm_first=c.local, kernel=c.kernel, groups=c.position_groups, local=c.local)
        # Logits of deviation 4: with the usual start, Gumbel noise (1.3) would pick the codes alone (assumption).
        self.quantizer = GumbelQuantizer(c.dim, c.groups, c.codes, c.dim, logit_std=4 * c.dim ** -0.5)
        self.head = SpectrumHead(c.dim, width)
        self.register_buffer("temperature", torch.tensor(c.temperature[0]))

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (need_of(True, config.standardise_by),)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw each utterance's `hidden` frames [B, N] and, in training, the codebook's `noise` [B, N, G * K]; `real`
        [B, N, D], `cells` [B, N, D] True where the loss looks, `frames` [B]."""
        c = self.config
        real, frames = self._frames(batch)
        hidden = span_mask(frames, c.start * c.span, c.span, generators_of(batch["seeds"]))
        hidden = widened(hidden, real.shape[1])
        inside = cells_inside(batch["feats_lengths"], *batch["feats"].shape[1:], c.stack)
        noise = gumbel_noise(frames, real.shape[1], c.groups * c.codes, batch["seeds"] + 1) if self.training else None
        return batch | {"real": real, "frames": frames, "hidden": hidden, "cells": hidden[..., None] & inside,
                        "noise": noise}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"reconstruction": float(batch["cells"].sum()), "diversity": float(batch["frames"].sum())}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """real and cells [B, N, D], hidden [B, N] -> the absolute error summed over cells; the diversity loss times the
        number of frames."""
        made, _, probs_sum = self._reconstruct(batch)
        frames = batch["frames"].sum()
        return {"reconstruction": absolute_error(made, batch["real"], batch["cells"]),
                "diversity": diversity(probs_sum, frames, gather=self.training) * frames}

    def _reconstruct(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The reconstruction [B, N, D], ids [B, N, G] and the sum of the frames' softmax [G, K]."""
        pad = pad_mask(batch["frames"], batch["real"].shape[1])
        x = self.enter(batch["real"])
        x = torch.where(batch["hidden"][..., None], self.mask.to(x.dtype), x)
        top = self.trunk(x.masked_fill(pad[..., None], 0), pad)[-1]
        codes, ids, probs_sum = self.quantizer(top, pad, self.temperature, batch["noise"])
        return self.head(codes).float(), ids, probs_sum

    def after_step(self, step: int) -> None:
        """Lower the temperature."""
        first, last, factor = self.config.temperature
        self.temperature.fill_(max(last, first * factor ** step))

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """The loss of predicting the mean, how much predictions and targets vary, and the mean perplexity of the
        codebook's groups."""
        made, ids, _ = self._reconstruct(batch)
        counts = code_counts(ids, self.config.codes, pad_mask(batch["frames"], ids.shape[1]))
        total = float(batch["frames"].sum())
        return how_it_goes(made, batch["real"], batch["cells"]) | {
            "perplexity": (float(perplexity(counts).mean()) * total, total)}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Few codes, or predictions that hardly vary."""
        if step < self.config.guard_from:
            return None
        return few_codes(values, self.config.least_perplexity) or flat(values)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return stacked_lengths(lengths, self.config.stack)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        x, frames = self._frames(batch)
        pad = pad_mask(frames, x.shape[1])
        return self.trunk(self.enter(x).masked_fill(pad[..., None], 0), pad), frames

    def _frames(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.standardise(batch["feats"], batch["feats_lengths"])
        return stack(x, self.config.stack), self.frame_lengths(batch["feats_lengths"])
