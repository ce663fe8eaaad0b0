"""ConvNeXt blocks over time, and the backbone of Vocos made of them.

A block is that of ConvNeXt (arXiv 2201.03545) in one dimension, as Vocos (arXiv 2306.00814, 3.2) uses it: depthwise
convolution, layer norm, pointwise expansion, GELU, pointwise projection, a learned scale per channel, residual.
Parameter names are those of the released Vocos models, so that their weights load as they are.
"""

import torch
from torch import nn


class ConvNeXtBlock(nn.Module):
    """[B, D, N] -> [B, D, N]. `scale` is the first value of the learned scale of the residual branch."""

    def __init__(self, dim: int, hidden_dim: int, kernel: int = 7, scale: float = 1.0):
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, hidden_dim)
        self.pwconv2 = nn.Linear(hidden_dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: torch.Tensor, frames: torch.Tensor | None = None) -> torch.Tensor:
        """`frames` [B, 1, N] is 1.0 where there is a frame and 0.0 in padding, which the convolution then sees as
        the zeros beyond the end."""
        y = self.dwconv(x if frames is None else x * frames).transpose(1, 2)
        y = self.pwconv2(nn.functional.gelu(self.pwconv1(self.norm(y))))
        return x + (self.gamma * y).transpose(1, 2)


class ConvNeXtBackbone(nn.Module):
    """Features [B, N, D_in] -> [B, N, dim]: a convolution of 7 frames, layer norm, `layers` blocks, layer norm."""

    def __init__(self, in_dim: int, dim: int, hidden_dim: int, layers: int, kernel: int = 7):
        super().__init__()
        self.embed = nn.Conv1d(in_dim, dim, 7, padding=3)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(dim, hidden_dim, kernel, scale=1.0 / layers) for _ in range(layers))
        self.final_layer_norm = nn.LayerNorm(dim, eps=1e-6)
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor, frames: torch.Tensor | None = None) -> torch.Tensor:
        """`frames` [B, 1, N] as in `ConvNeXtBlock`; values in padding are then of no effect on the others."""
        x = x.transpose(1, 2)
        x = self.embed(x if frames is None else x * frames)
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x, frames)
        return self.final_layer_norm(x.transpose(1, 2))
