"""Features by their statistics over the training part."""

from collections.abc import Sequence

import torch
from torch import nn

from speechrep.nn.masking import pad_mask


class Standardise(nn.Module):
    """Zero mean and unit variance in each dimension, zeros in padding. `mean` and `std` [D] are kept in checkpoints."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        # A band that is constant over the training part must not divide by nothing.
        self.register_buffer("std", torch.tensor(std).clamp(min=1e-3))

    def forward(self, feats: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """feats [B, N, D], lengths [B] -> [B, N, D]."""
        return ((feats - self.mean) / self.std).masked_fill(pad_mask(lengths, feats.shape[1])[..., None], 0)

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised values [B, N, D] -> features."""
        return x * self.std + self.mean
