"""Heads of recognisers: features -> scores of blank and symbols."""

import torch
from torch import nn

from speechrep.nn.encoder import Encoder
from speechrep.nn.masking import pad_mask
from speechrep.nn.recurrent import BLSTM

KINDS = ("tdnn", "linear", "blstm")


class CTCHead(nn.Module):
    """One of three.

    linear: a linear layer of width `dim` and one to the symbols, nothing between (SUPERB's phone recognition, dim 256).
    blstm: a linear layer of width `dim`, `layers` bidirectional LSTM layers of `dim` units each way with `dropout`
    behind each, a linear layer to the symbols (SUPERB's recognition and slot filling: dim 1024, 2 layers, dropout 0.2).
    tdnn: a linear layer of width `dim` and `layers` time-delay blocks; with no layers, a norm of the features; a linear
    layer to the symbols.
    """

    def __init__(self, kind: str, dim_in: int, dim: int, layers: int, dropout: float, symbols: int):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"head kind {kind!r}, wanted one of {KINDS}")
        self.kind = kind
        plain = kind == "tdnn" and not layers
        width = dim_in if plain else dim
        self.enter = nn.Identity() if plain else nn.Linear(dim_in, width)
        if kind == "tdnn":
            self.body: nn.Module = Encoder("tdnn", layers, width, 1, dropout)
        elif kind == "blstm":
            self.body, width = BLSTM(width, width, layers, dropout), 2 * width
        else:
            self.body = nn.Identity()
        self.out = nn.Linear(width, symbols)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """x [B, N, D], lengths [B] -> scores [B, N, K]."""
        x = self.enter(x)
        if self.kind == "tdnn":
            x = self.body(x, pad_mask(lengths, x.shape[1]))[-1]
        elif self.kind == "blstm":
            x = self.body(x, lengths)
        return self.out(x)
