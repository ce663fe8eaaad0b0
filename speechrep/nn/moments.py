"""Mean and variance of targets that no dump has statistics of, gathered while training goes on."""

import torch
import torch.distributed as dist
from torch import nn


class RunningMoments(nn.Module):
    """Standardises [..., D] by the mean and variance of all frames that training has seen up to the last step.

    `mean` and `std`, of all dimensions or of each, are where it begins, with the weight of one frame. Call `gather` on
    the frames of a training batch and `update()` after each optimiser step: statistics move there only, over
    micro-batches and processes at once, so that 1 x 8 equals 8 x 1 and checkpoints resume exactly.
    """

    def __init__(self, dim: int, mean: float | tuple[float, ...] = 0.0, std: float | tuple[float, ...] = 1.0):
        super().__init__()
        mean, std = (torch.tensor(value, dtype=torch.float64).expand(dim) for value in (mean, std))
        # Sums, not means: a moving average of them has the right mean too.
        self.register_buffer("count", torch.ones((), dtype=torch.float64))
        self.register_buffer("total", mean.clone())
        self.register_buffer("square", mean.square() + std.square())
        self._gathered: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., D] -> [..., D] with zero mean and unit variance."""
        mean = self.total / self.count
        # A dimension that never varies must not divide by nothing.
        std = (self.square / self.count - mean.square()).clamp(min=1e-8).sqrt()
        return (x - mean.float()) / std.float()

    def gather(self, x: torch.Tensor) -> None:
        """Count the frames x [M, D]."""
        x = x.detach().double()
        sums = torch.cat([x.new_tensor([float(len(x))]), x.sum(0), x.square().sum(0)])
        self._gathered = sums if self._gathered is None else self._gathered + sums

    @torch.no_grad()
    def update(self) -> None:
        """Move the statistics by what was gathered since the last call; all processes must call."""
        if self._gathered is None:
            return
        sums, self._gathered = self._gathered, None
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(sums)
        dim = len(self.total)
        self.count += sums[0]
        self.total += sums[1:1 + dim]
        self.square += sums[1 + dim:]
