"""The transformer that wav2vec 2.0 and all that follow it share (arXiv 2006.11477, 2), over rows without padding.

Either with the norms behind the branches (base sizes) or before them (large sizes, "stable layer norm"); with positions
from one wide convolution or from a stack; with WavLM's gated relative position bias or without any. Small sizes may look at
neighbouring frames in every layer, which trains in minutes what attention learns in hours.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.attention import Attention, RelativePositions
from speechrep.nn.dropout import dropout
from speechrep.nn.packing import Rows
from speechrep.nn.positions import ConvPositions, StackedPositions
from speechrep.nn.tdnn import TDNNBlock


class TrunkLayer(nn.Module):
    """Self-attention and a feed-forward network, each with a residual and a norm.

    local: a time-delay block goes before them, whose neighbours are so many frames away; 0: none.
    """

    def __init__(self, dim: int, heads: int, ffn_dim: int, rate: float = 0.0, attention_rate: float = 0.0,
                 activation_rate: float = 0.0, norm_first: bool = False, gated: bool = False, local: int = 0):
        super().__init__()
        self.local = TDNNBlock(dim, local, rate) if local else None
        self.rate, self.activation_rate, self.norm_first = rate, activation_rate, norm_first
        self.attention = Attention(dim, heads, attention_rate, gated)
        self.attention_norm, self.ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn_in, self.ffn_out = nn.Linear(dim, ffn_dim), nn.Linear(ffn_dim, dim)

    def forward(self, x: torch.Tensor, rows: Rows,
                bias: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """x [M, D], bias [H, N, N] -> the layer's output and the feed-forward network's before the residual, [M, D]."""
        if self.local is not None:
            x = rows.pack(self.local(rows.unpack(x), rows.pad))
        y = self.attention(self.attention_norm(x) if self.norm_first else x, rows, bias)
        x = x + dropout(y, self.rate, self.training)
        if not self.norm_first:
            x = self.attention_norm(x)
        y = F.gelu(self.ffn_in(self.ffn_norm(x) if self.norm_first else x))
        y = self.ffn_out(dropout(y, self.activation_rate, self.training))
        x = x + dropout(y, self.rate, self.training)
        return x if self.norm_first else self.ffn_norm(x), y


class Trunk(nn.Module):
    """`layers` of `dim` with `heads` and a feed-forward network of `ffn_dim`.

    rate: dropout of branches and input; attention_rate: of attention weights; activation_rate: within the feed-forward
    network. positions "conv" (kernel, groups) or "stack" (kernel, groups, position_layers). norm_first: norms before
    the branches and one at the end. layerdrop: share of layers that a training step leaves out. bias "gated": WavLM's.
    local: every layer begins with a time-delay block, with neighbours 1, 2 and 3 frames away in turn.
    """

    def __init__(self, layers: int, dim: int, heads: int, ffn_dim: int, rate: float = 0.1, attention_rate: float = 0.1,
                 activation_rate: float = 0.0, layerdrop: float = 0.0, norm_first: bool = False,
                 positions: Literal["conv", "stack"] = "conv", kernel: int = 128, groups: int = 16,
                 position_layers: int = 5, bias: Literal["none", "gated"] = "none", buckets: int = 320,
                 farthest: int = 800, local: bool = False):
        super().__init__()
        self.rate, self.layerdrop, self.norm_first = rate, layerdrop, norm_first
        self.positions = ConvPositions(dim, kernel, groups) if positions == "conv" \
            else StackedPositions(dim, kernel, groups, position_layers)
        self.norm = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(TrunkLayer(dim, heads, ffn_dim, rate, attention_rate, activation_rate, norm_first,
                                               bias == "gated", i % 3 + 1 if local else 0) for i in range(layers))
        self.relative = RelativePositions(heads, buckets, farthest) if bias == "gated" else None
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                # As BERT's, which these models begin with (released configurations).
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def rows(self, x: torch.Tensor, rows: Rows) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """x [M, D] -> the input of the first layer and every layer's output, and every layer's feed-forward output
        before its residual, each [M, D]. With `norm_first` the last output is normed."""
        x = x + self.positions(x, rows).to(x.dtype)
        # A part below what is fine-tuned is in eval mode by itself.
        x = dropout(x if self.norm_first else self.norm(x), self.rate, self.positions.training)
        bias = None if self.relative is None else self.relative(rows.size)
        outputs, inner = [x], []
        for block in self.blocks:
            if block.training and self.layerdrop and float(torch.rand(())) < self.layerdrop:
                # Zero times each parameter, so that every process of several has a gradient for each.
                x = x + sum(p.flatten()[0] for p in block.parameters()) * 0.0
                inner.append(torch.zeros_like(x))
            else:
                x, y = block(x, rows, bias)
                inner.append(y)
            outputs.append(x)
        if self.norm_first:
            outputs[-1] = self.norm(outputs[-1])
        return outputs, inner

    def forward(self, x: torch.Tensor, pad: torch.Tensor) -> list[torch.Tensor]:
        """x [B, N, D], pad [B, N] True behind the end -> the input of the first layer and every layer's output, each
        [B, N, D] with zeros in padding."""
        rows = Rows((~pad).sum(1), x.shape[1])
        return [rows.unpack(output) for output in self.rows(rows.pack(x), rows)[0]]
