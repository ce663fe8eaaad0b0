"""Positions told by convolutions over the frames, as the masked methods have them.

`ConvPositions` is wav2vec 2.0's single wide convolution (arXiv 2006.11477, 2), `StackedPositions` data2vec's stack of
narrow ones (arXiv 2202.03555; kernels of 19 in the released configuration).
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from speechrep.nn.grouped_conv import grouped_conv
from speechrep.nn.packing import Rows


class ConvPositions(nn.Module):
    """GELU of a grouped convolution whose weight is normed over all but its taps."""

    def __init__(self, dim: int, kernel: int = 128, groups: int = 16):
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
        nn.init.normal_(self.conv.weight, std=2 / (kernel * dim) ** 0.5)
        nn.init.zeros_(self.conv.bias)
        weight_norm(self.conv, dim=2)

    def forward(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """x [M, D] -> [M, D]; an utterance sees zeros beyond its ends."""
        return F.gelu(grouped_conv(x, rows, self.conv.weight, self.conv.bias, self.conv.groups))


class RowConv(nn.Conv1d):
    """`grouped_conv` as a layer: weights that are divided among processes come together where a layer is called."""

    def forward(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """x [M, D] -> [M, D]."""
        return grouped_conv(x, rows, self.weight, self.bias, self.groups)


class StackedPositions(nn.Module):
    """`layers` grouped convolutions, each followed by a layer norm without parameters and GELU."""

    def __init__(self, dim: int, kernel: int = 19, groups: int = 16, layers: int = 5):
        super().__init__()
        self.convs = nn.ModuleList(RowConv(dim, dim, kernel, padding=kernel // 2, groups=groups) for _ in range(layers))

    def forward(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """x [M, D] -> [M, D]; an utterance sees zeros beyond its ends at every layer."""
        for conv in self.convs:
            x = F.gelu(F.layer_norm(conv(x, rows), x.shape[-1:]))
        return x
