"""A teacher that follows its student by exponential moving average (data2vec, arXiv 2202.03555, 3.3).

Its targets are the mean over the top layers of the feed-forward outputs, each channel normalised over the utterance.
"""

import copy

import torch
from torch import nn

from speechrep.nn.packing import Rows
from speechrep.nn.trunk import Trunk


def decay_at(step: int, first: float, last: float, steps: int) -> float:
    """The decay behind `step` optimiser steps: linear from `first` to `last` over `steps`, then constant."""
    return last if step >= steps else first + (last - first) * step / steps


class Teacher(nn.Module):
    """A copy of a trunk, always in eval mode, without gradient and in float32. Positional convolutions are not averaged
    but copied (released code)."""

    def __init__(self, student: Trunk, top: int):
        super().__init__()
        if not 1 <= top <= len(student.blocks):
            raise ValueError(f"targets of {top} layers, wanted 1 to {len(student.blocks)}")
        self.top = top
        self.trunk = copy.deepcopy(student).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Teacher":
        return super().train(False)

    @torch.no_grad()
    def targets(self, x: torch.Tensor, rows: Rows) -> torch.Tensor:
        """x [M, D], nothing hidden -> targets [M, D] in float32."""
        _, inner = self.trunk.rows(x, rows)
        return sum(instance_norm(layer.float(), rows) for layer in inner[-self.top:]) / self.top

    @torch.no_grad()
    def follow(self, student: Trunk, decay: float) -> None:
        """Move towards the student: decay * teacher + (1 - decay) * student."""
        for (name, ours), theirs in zip(self.trunk.named_parameters(), student.parameters(), strict=True):
            if name.startswith("positions."):
                ours.copy_(theirs)
            else:
                ours.lerp_(theirs, 1 - decay)


def instance_norm(x: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Each channel of x [M, D] with zero mean and unit variance over its utterance's frames."""
    parts = []
    for part in rows.split(x):
        centred = part - part.mean(0)
        parts.append(centred * (centred.square().mean(0) + 1e-5).rsqrt())
    return torch.cat(parts)


def spread(x: torch.Tensor) -> float:
    """The standard deviation over frames of x [M, D], averaged over dimensions: near 0, all frames look alike."""
    return float(x.float().std(0, correction=0).mean())


def spread_collapsed(values: dict[str, float], least_target: float = 0.1, least_prediction: float = 0.01) -> str | None:
    """A sentence when targets or predictions hardly vary; the bounds are those of the released code."""
    for name, least in (("target_std", least_target), ("prediction_std", least_prediction)):
        if values[name] < least:
            return (f"{name} is {values[name]:.4f}: all frames look alike to the "
                    f"{'teacher' if name == 'target_std' else 'student'}; a healthy run stays above {least}")
    return None
