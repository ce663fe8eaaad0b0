"""Recurrent layers over padded batches."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class BLSTM(nn.Module):
    """Bidirectional LSTM layers, `dim` units each way, dropout behind each. An utterance's output does not depend on
    the batch that it is in."""

    def __init__(self, dim_in: int, dim: int, layers: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(nn.LSTM(dim_in if i == 0 else 2 * dim, dim, batch_first=True, bidirectional=True)
                                    for i in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """x [B, N, D], lengths [B] -> [B, N, 2 * dim], zeros in padding."""
        size, lengths = x.shape[1], lengths.cpu().clamp(min=1)
        for layer in self.layers:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            x = self.dropout(pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=size)[0])
        return x
