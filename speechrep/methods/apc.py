"""Autoregressive predictive coding, and its variant with a codebook.

APC (Chung et al., arXiv 1904.03240): recurrent layers read a spectrogram from left to right and predict the frame that
comes `ahead` frames later. VQ-APC (Chung et al., arXiv 2005.08392): the last layer passes through a codebook before the
prediction, by straight-through Gumbel-softmax at a fixed temperature; `codes: 0` is plain APC.

Loss:
  prediction   L1 distance of the prediction from frame t to frame t + ahead, over cells (APC, eq. 1)

What the method gives as features are the recurrent layers, the last one before the codebook, as the released VQ-APC
does. The log-mel input is narrower than they and left out. Where this file differs: the loss leaves padding out, which
the released code does not; log-mel of the dump, standardised over the training part unless `standardise_by` says more;
consecutive frames may stand side by side (`stack`), `ahead` then counts stacked frames.
"""

from dataclasses import dataclass

import torch
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.guards import few_codes, flat, spread
from speechrep.nn.hearing import Scope, need_of
from speechrep.nn.masking import pad_mask
from speechrep.nn.quantizers import GumbelQuantizer, code_counts, gumbel_noise, perplexity
from speechrep.nn.reconstruction import absolute_error, cells_inside, stack, stacked_lengths
from speechrep.nn.standardise import Standardise


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are those of the released APC."""

    dim: int = 512
    """Width of the recurrent layers (released code)."""
    layers: int = 3
    """Recurrent layers, with residuals between them (released code)."""
    dropout: float = 0.1
    """Dropout behind each layer but the last (s3prl's configuration)."""
    standardise_by: Scope = "part"
    """Within what log-mel is standardised: the training part, each utterance (s3prl's configurations), or each speaker."""
    stack: int = 1
    """Feature frames side by side in one frame of the network."""
    ahead: int = 5
    """How many frames ahead the prediction is (s3prl's configuration; the paper compares 1, 2, 3, 5, 10, 20)."""
    codes: int = 0
    """Size of VQ-APC's codebook, 512 in s3prl's configuration; 0 for APC."""
    temperature: float = 0.5
    """Temperature of the Gumbel-softmax (released VQ-APC)."""
    least_perplexity: float = 4.0
    """Perplexity of the codebook below which a run has collapsed (assumption)."""
    guard_from: int = 300
    """Optimiser step from which the guards against collapse stop a run (assumption)."""

    def __post_init__(self):
        if min(self.stack, self.ahead, self.layers) < 1 or self.codes < 0 or self.temperature <= 0:
            raise ValueError("stack, ahead and layers must be at least 1, codes at least 0, temperature above 0")


class Method(BaseMethod):
    """Recurrent layers, a codebook if wanted, and a linear prediction."""

    Config = Config
    needs = ("feats",)
    losses = {"main": ("prediction",)}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        width = len(inventory.mean) * c.stack
        self.standardise = Standardise(inventory.mean, inventory.std)
        self.recurrent = nn.ModuleList(nn.GRU(c.dim if i else width, c.dim, batch_first=True) for i in range(c.layers))
        self.quantizer = GumbelQuantizer(c.dim, 1, c.codes, c.dim) if c.codes else None
        self.out = nn.Linear(c.dim, width)

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (need_of(True, config.standardise_by),)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Frames `x` [B, N, D], their numbers `frames` [B], `cells` [B, N, D] True where frame t is a target, and in
        training the codebook's `noise` [B, N, K]."""
        x, frames = self._frames(batch)
        cells = cells_inside(batch["feats_lengths"], *batch["feats"].shape[1:], self.config.stack)
        cells = cells & (torch.arange(x.shape[1], device=x.device) >= self.config.ahead)[:, None]
        noise = gumbel_noise(frames, x.shape[1], self.config.codes, batch["seeds"]) \
            if self.config.codes and self.training else None
        return batch | {"x": x, "frames": frames, "cells": cells, "noise": noise}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"prediction": float(batch["cells"].sum())}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """x and cells [B, N, D] -> the absolute error summed over cells."""
        made, _ = self._predict(batch)
        return {"prediction": absolute_error(made, batch["x"], batch["cells"])}

    def _predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The prediction of each frame [B, N, D], zeros for the first `ahead`, and the codes [B, N, 1]."""
        top = self.hidden(batch["x"])[-1]
        pad, ids = pad_mask(batch["frames"], top.shape[1]), None
        if self.quantizer is not None:
            top, ids, _ = self.quantizer(top, pad, self.config.temperature, batch["noise"])
        made = self.out(top).float()
        return nn.functional.pad(made, (0, 0, self.config.ahead, 0))[:, :made.shape[1]], ids

    def hidden(self, x: torch.Tensor) -> list[torch.Tensor]:
        """x [B, N, D] -> the recurrent layers [B, N, D'], each with its residual."""
        outputs: list[torch.Tensor] = []
        for layer in self.recurrent:
            y = layer(nn.functional.dropout(outputs[-1], self.config.dropout, layer.training) if outputs else x)[0]
            outputs.append(y + outputs[-1] if outputs else y)
        return outputs

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """`error_of_copy`: the loss of saying the last frame again; how much predictions and targets vary; the
        codebook's perplexity."""
        made, ids = self._predict(batch)
        x, cells = batch["x"], batch["cells"]
        copy = nn.functional.pad(x, (0, 0, self.config.ahead, 0))[:, :x.shape[1]]
        found = {"error_of_copy": (float(absolute_error(copy, x, cells)), float(cells.sum())),
                 "prediction_std": spread(made, cells), "target_std": spread(x, cells)}
        if ids is not None:
            counts = code_counts(ids, self.config.codes, pad_mask(batch["frames"], ids.shape[1]))
            found["perplexity"] = (float(perplexity(counts)[0] * counts.sum()), float(counts.sum()))
        return found

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Predictions that hardly vary, or few codes."""
        if step < self.config.guard_from:
            return None
        return flat(values) or (few_codes(values, self.config.least_perplexity) if self.config.codes else None)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return stacked_lengths(lengths, self.config.stack)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        x, frames = self._frames(batch)
        pad = pad_mask(frames, x.shape[1])[..., None]
        return [layer.masked_fill(pad, 0) for layer in self.hidden(x)], frames

    def _frames(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.standardise(batch["feats"], batch["feats_lengths"])
        return stack(x, self.config.stack), self.frame_lengths(batch["feats_lengths"])
