"""Classification by angle with a margin, after which the angle between two vectors tells whether they are of one class."""

import torch
import torch.nn.functional as F
from torch import nn


class AdditiveMargin(nn.Module):
    """AM-softmax (Wang et al. 2018, arXiv 1801.05599, equation 6): the true class must win by `margin` in cosine.

    The scores are scale * (cosine - margin where the class is the true one).
    """

    def __init__(self, dim: int, classes: int, scale: float = 30.0, margin: float = 0.4):
        super().__init__()
        self.scale, self.margin = scale, margin
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(classes, dim)))

    def cosines(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, D] -> cosines with each class [B, K]."""
        return F.normalize(x.float(), dim=1) @ F.normalize(self.weight.float(), dim=1).T

    def forward(self, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """x [B, D], targets [B], negative for none -> the summed cross-entropy."""
        known = targets >= 0
        true = F.one_hot(targets.clamp(min=0), len(self.weight)) * known[:, None]
        scores = self.scale * (self.cosines(x) - self.margin * true)
        return F.cross_entropy(scores, targets.masked_fill(~known, -100), reduction="sum")
