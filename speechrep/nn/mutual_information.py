"""Mutual information by telling pairs of one utterance from pairs of two."""

import torch
import torch.nn.functional as F
from torch import nn


class PairJudge(nn.Module):
    """Tells whether two vectors come from one utterance: a hidden layer of `hidden` with a PReLU over both (PASE, arXiv
    1904.03416, after Ravanelli & Bengio, arXiv 1812.00271). Its loss bounds the mutual information of the two."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(2 * dim, hidden), nn.PReLU(), nn.Linear(hidden, 1))

    def forward(self, anchor: torch.Tensor, same: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, int]:
        """anchor, same (of the anchor's utterance) and other (of another) [..., D] -> the binary cross-entropy summed
        over both pairs of each, and how many of them are told right."""
        right, wrong = (self.score(torch.cat([anchor, x], -1)).float() for x in (same, other))
        loss = F.softplus(-right).sum() + F.softplus(wrong).sum()
        return loss, int((right > 0).sum() + (wrong <= 0).sum())


def pick_frames(x: torch.Tensor, lengths: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Frames of x [B, N, D] at shares `place` [B, P] in [0, 1) of their lengths [B] -> [B, P, D]."""
    index = (place * lengths[:, None]).long()
    return torch.gather(x, 1, index[..., None].expand(-1, -1, x.shape[2]))


def segment_means(x: torch.Tensor, lengths: torch.Tensor, place: torch.Tensor, size: int) -> torch.Tensor:
    """Means over segments of `size` frames, or of the whole where it is shorter: x [B, N, D] with lengths [B], `place`
    [B, P] in [0, 1) says where a segment lies within what its length leaves free -> [B, P, D]."""
    width = lengths.clamp(max=size)[:, None]
    start = (place * (lengths[:, None] - width + 1)).long()
    sums = F.pad(x.float().cumsum(1), (0, 0, 1, 0))
    edges = [torch.gather(sums, 1, index[..., None].expand(-1, -1, x.shape[2])) for index in (start, start + width)]
    return ((edges[1] - edges[0]) / width[..., None]).to(x.dtype)
