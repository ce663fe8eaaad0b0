"""Batch normalisation over all processes (Ioffe and Szegedy 2015, arXiv 1502.03167), without a scale and a shift of its own."""

import torch
from torch import nn

from speechrep.nn.contrastive import _gather


class BatchNorm(nn.Module):
    """Each dimension less its mean, over its standard deviation: in training those of the batch, which is that of all
    processes, else running estimates. Vectors that were nearly alike differ behind it.

    Of a batch of one vector the running estimates are taken in training too.
    """

    def __init__(self, dim: int, momentum: float = 0.1, epsilon: float = 1e-5):
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    @torch.no_grad()
    def begin(self, x: torch.Tensor) -> None:
        """Take the estimates from vectors [B, D]."""
        self.mean.copy_(x.mean(0)), self.variance.copy_(x.var(0, unbiased=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, D] -> [B, D]; all processes must call."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            mean, variance = self.mean, self.variance
            if self.training and len(everyone := _gather(x)) > 1:
                mean, variance = everyone.mean(0), everyone.var(0, unbiased=False)
                with torch.no_grad():
                    self.mean.lerp_(mean, self.momentum), self.variance.lerp_(variance, self.momentum)
            return (x - mean) / (variance + self.epsilon).sqrt()
