"""Norms of picture networks: batch norm that stays as it was trained, or groups of channels."""

import torch
from torch import nn

NORM_GROUPS = 8


class FrozenNorm(nn.Module):
    """Batch norm with given statistics and factors, none of which is trained: [B, C, H, W] -> the same shape."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.running_mean * scale)[:, None, None]


def picture_norm(kind: str, channels: int, eps: float = 1e-5) -> nn.Module:
    """kind: "frozen" (`FrozenNorm`, for released weights) or "group" (from scratch; it does not depend on the batch)."""
    return FrozenNorm(channels, eps) if kind == "frozen" else nn.GroupNorm(min(NORM_GROUPS, channels), channels)
