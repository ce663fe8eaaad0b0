"""Diagonal Gaussians."""

import torch


def kl_to_standard(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(logvar)) || N(0, I)) in nats, summed over D: [B, D] -> [B]."""
    return 0.5 * (mean.square() + logvar.exp() - logvar - 1).sum(-1)
