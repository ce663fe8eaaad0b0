"""The x-vector network (Snyder et al. 2018) as SUPERB has it, and statistics pooling."""

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.masking import pad_mask
from speechrep.nn.tdnn import splice

CONTEXTS = ((2, 1), (1, 2), (1, 3), (0, 1), (0, 1))
"""Frames to each side and their distance, of each layer: windows of 5, 3, 3, 1 and 1 frames (s3prl's SUPERB head)."""

REACH = sum(context * dilation for context, dilation in CONTEXTS)
"""Frames at either end for which some window is not whole."""


def mean_and_std(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """x [B, N, D], weights [B, N, 1 or D] that sum to 1 over frames -> weighted mean and standard deviation [B, 2 * D]."""
    mean = (x * weights).sum(1)
    variance = (weights * (x - mean[:, None]).square()).sum(1)
    # The root's slope at 0 is infinite.
    return torch.cat([mean, variance.clamp(min=1e-6).sqrt()], 1)


class XVector(nn.Module):
    """Affine, five time-delay layers with ReLU and no normalisation, mean and standard deviation over time, two affine layers.

    `embedding` [B, E] is the first of them with ReLU, `forward` what training classifies. Only frames whose windows
    lie within the utterance are pooled, as if the layers had no padding; in one of no more than 2 * REACH frames, all are.
    """

    def __init__(self, in_dim: int, dim: int = 512, last_dim: int = 1500, embedding_dim: int = 512):
        super().__init__()
        dims = [dim] * len(CONTEXTS) + [last_dim]
        self.enter = nn.Linear(in_dim, dim)
        self.tdnn = nn.ModuleList(nn.Linear((2 * context + 1) * a, b)
                                  for (context, _), a, b in zip(CONTEXTS, dims, dims[1:]))
        self.embed = nn.Linear(2 * last_dim, embedding_dim)
        self.out = nn.Linear(embedding_dim, embedding_dim)

    def embedding(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """x [B, N, D], lengths [B] -> [B, E]."""
        pad = pad_mask(lengths.to(x.device), x.shape[1])
        x = self.enter(x)
        for affine, (context, dilation) in zip(self.tdnn, CONTEXTS):
            x = F.relu(affine(splice(x.masked_fill(pad[..., None], 0), context, dilation)))
        place, ends = torch.arange(x.shape[1], device=x.device), lengths.to(x.device)[:, None]
        reach = torch.where(ends > 2 * REACH, REACH, 0)
        whole = ((place >= reach) & (place < ends - reach))[..., None].to(x.dtype)
        return F.relu(self.embed(mean_and_std(x, whole / whole.sum(1, keepdim=True).clamp(min=1))))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """x [B, N, D], lengths [B] -> [B, E]."""
        return self.out(self.embedding(x, lengths))
