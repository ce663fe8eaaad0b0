"""Self-attention over rows without padding, with WavLM's gated relative position bias
(arXiv 2110.13900, 3.1) or without any."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.dropout import dropout
from speechrep.nn.packing import Rows


class Attention(nn.Module):
    """Multi-head attention of each utterance to itself.

    gated: adds a relative position bias that each query weighs. No bias on the keys, since softmax cannot feel one.
    """

    def __init__(self, dim: int, heads: int, rate: float = 0.0, gated: bool = False):
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads of {dim} dimensions, wanted a divisor")
        self.heads, self.rate = heads, rate
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.gate = nn.Linear(dim // heads, 8) if gated else None
        self.gate_scale = nn.Parameter(torch.ones(heads)) if gated else None

    def forward(self, x: torch.Tensor, rows: Rows, bias: torch.Tensor | None = None) -> torch.Tensor:
        """x [M, D] the rows of the batch, bias [H, N, N] between positions of the longest -> [M, D]."""
        # One product for all three.
        weight = torch.cat([self.query.weight, self.key.weight, self.value.weight])
        shift = torch.cat([self.query.bias, torch.zeros_like(self.query.bias), self.value.bias])
        joint = F.linear(x, weight, shift)
        gates = None if bias is None else self._gates(x)
        rate = self.rate if self.training else 0.0
        attend = self._one_by_one if x.device.type == "cpu" else self._padded
        return self.out(attend(joint, rows, gates, bias, rate))

    def _gates(self, x: torch.Tensor) -> torch.Tensor:
        """How much of the position bias each query takes [M, H]."""
        parts = self.gate(x.unflatten(-1, (self.heads, -1))).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        return parts[..., 0] * (parts[..., 1] * self.gate_scale - 1) + 2

    def _one_by_one(self, joint, rows, gates, bias, rate) -> torch.Tensor:
        """An utterance after the other: on a CPU its heads already fill the machine, and none is padded."""
        parts = []
        shares = [None] * len(rows.counts) if gates is None else rows.split(gates)
        for part, share, size in zip(rows.split(joint), shares, rows.counts):
            query, key, value = part.view(size, 3, self.heads, -1).permute(1, 2, 0, 3)
            added = None if bias is None else (share.T[..., None] * bias[:, :size, :size]).to(query.dtype)
            # In half precision PyTorch's fused kernel is two to three times slower on a CPU than the products it fuses.
            if rate == 0 and query.dtype == torch.float32:
                y = F.scaled_dot_product_attention(query[None], key[None], value[None], added)[0]
            else:
                scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(1, 2)
                scores = scores if added is None else scores + added
                y = dropout(scores.softmax(-1).to(value.dtype), rate) @ value
            parts.append(y.transpose(0, 1).reshape(size, -1))
        return torch.cat(parts)

    def _padded(self, joint, rows, gates, bias, rate) -> torch.Tensor:
        """All at once, for an accelerator."""
        query, key, value = rows.unpack(joint).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = rows.inside[:, None, None]
        if bias is not None:
            added = rows.unpack(gates).transpose(1, 2)[..., None] * bias
            mask = added.masked_fill(~mask, float("-inf")).to(query.dtype)
        elif min(rows.counts) == rows.size:
            mask = None
        y = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=rate)
        return rows.pack(y.transpose(1, 2).flatten(2))


class RelativePositions(nn.Module):
    """A bias for each distance between two frames, in buckets that widen logarithmically (WavLM: 320 buckets up to a
    distance of 800 frames, half of them for each direction)."""

    def __init__(self, heads: int, buckets: int = 320, farthest: int = 800):
        super().__init__()
        self.buckets, self.farthest = buckets, farthest
        self.table = nn.Embedding(buckets, heads)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, size: int) -> torch.Tensor:
        """The bias of each head between `size` positions [H, size, size], query by key."""
        place = torch.arange(size, device=self.table.weight.device)
        return self.table(self.bucket(place[None] - place[:, None])).permute(2, 0, 1)

    def bucket(self, distance: torch.Tensor) -> torch.Tensor:
        """The bucket of each signed distance key - query, in frames."""
        half = self.buckets // 2
        exact = half // 2
        far = distance.abs()
        wide = exact + ((far.clamp(min=1).float() / exact).log() / math.log(self.farthest / exact)
                        * (half - exact)).long()
        return torch.where(far < exact, far, wide.clamp(max=half - 1)) + (distance > 0) * half
