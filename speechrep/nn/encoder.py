"""A stack of blocks of one kind over frames or tokens."""

from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import nn

from speechrep.nn.tdnn import TDNNBlock
from speechrep.nn.transformer import TransformerBlock, sinusoids

KINDS = ("transformer", "tdnn")


class Encoder(nn.Module):
    """`layers` blocks and a final layer norm.

    kind "transformer": sinusoidal positions are added first. kind "tdnn": time-delay blocks whose dilation runs
    through `dilations` again and again; they need no positions.
    """

    def __init__(self, kind: str, layers: int, dim: int, heads: int, dropout: float,
                 dilations: tuple[int, ...] = (1, 2, 3)):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"encoder kind {kind!r}, wanted one of {KINDS}")
        self.kind = kind
        if kind == "transformer":
            self.blocks = nn.ModuleList(TransformerBlock(dim, heads, dropout) for _ in range(layers))
        else:
            self.blocks = nn.ModuleList(TDNNBlock(dim, dilations[i % len(dilations)], dropout) for i in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor, pad: torch.Tensor, added: Sequence[torch.Tensor] = ()) -> list[torch.Tensor]:
        """x [B, N, D], pad [B, N] -> the input and the output of every block, each [B, N, D]; the last is normed and
        holds zeros in padding, the others hold anything there. added: what the first blocks, in this order, are told
        beside their input, each [B, N or 1, D]."""
        if self.kind == "transformer":
            x = x + sinusoids(x.shape[1], x.shape[2], x.device).to(x.dtype)
        outputs = [x]
        for block, told in zip_longest(self.blocks, added):
            outputs.append(block(outputs[-1] if told is None else outputs[-1] + told, pad))
        outputs[-1] = self.norm(outputs[-1]).masked_fill(pad[..., None], 0)
        return outputs
