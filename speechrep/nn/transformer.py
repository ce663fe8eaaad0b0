"""Transformer encoder blocks in the pre-norm form of Whisper's encoder (Radford et al., arXiv 2212.04356)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.dropout import Dropout, dropout


def sinusoids(size: int, dim: int, device: torch.device | None = None) -> torch.Tensor:
    """Sine and cosine position features [size, dim], periods from 2 pi to 10000 * 2 pi frames."""
    half = dim // 2
    rates = torch.exp(-math.log(10_000.0) / max(half - 1, 1) * torch.arange(half, device=device))
    angles = torch.arange(size, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). No bias on the keys, since softmax cannot feel one."""

    def __init__(self, dim: int, heads: int, dropout: float, ffn: int | None = None):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, ffn or 4 * dim), nn.GELU(), Dropout(dropout),
                                 nn.Linear(ffn or 4 * dim, dim), Dropout(dropout))

    def forward(self, x: torch.Tensor, pad: torch.Tensor, causal: bool = False) -> torch.Tensor:
        """x [B, N, D], pad [B, N] True behind the end -> [B, N, D]. causal: a frame sees itself and those before it, which
        keeps padding out of all that counts."""
        y = self.norm_attention(x)
        split = (*x.shape[:2], self.heads, -1)
        query, key, value = (layer(y).view(split).transpose(1, 2) for layer in (self.query, self.key, self.value))
        mask = None if causal or not pad.any() else ~pad[:, None, None, :]
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal,
                                           dropout_p=self.dropout if self.training else 0.0)
        x = x + dropout(self.out(y.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return x + self.mlp(self.norm_mlp(x))
