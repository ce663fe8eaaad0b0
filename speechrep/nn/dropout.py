"""Dropout whose mask costs next to nothing on a CPU.

torch draws a random number for each element of a mask, which is a tenth of a transformer's training step on a CPU. Here
each 64-bit draw of torch's own generator serves eight elements, a byte each: an element is dropped where its byte is
below 256 times the rate, so the rate is rounded to a 256th and the rest is scaled by exactly what that keeps. Since the
draws come from torch's generator, a resumed run goes on as it would have.
"""

import torch
import torch.nn.functional as F
from torch import nn

LEVELS = 256


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor, threshold: int) -> torch.Tensor:
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-2 ** 63, None)
        keep = words.view(torch.uint8)[:x.numel()].view(x.shape) >= threshold
        ctx.save_for_backward(keep)
        ctx.scale = LEVELS / (LEVELS - threshold)
        return _scaled(x, keep, ctx.scale)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _scaled(gradient, *ctx.saved_tensors, ctx.scale), None


def _scaled(x: torch.Tensor, keep: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.addcmul(x.new_zeros(()), keep.to(x.dtype), x, value=scale)


def dropout(x: torch.Tensor, rate: float, training: bool = True) -> torch.Tensor:
    """`x` of any shape with elements zeroed at `rate`, a share from 0 to below 1, and the others scaled up, so that the
    expectation stays. On a CPU the rate is rounded to a 256th; elsewhere this is torch's own dropout."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout rate {rate}, wanted 0 to below 1")
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    threshold = min(max(round(rate * LEVELS), 1), LEVELS - 1)
    return _ByteDropout.apply(x, threshold)


class Dropout(nn.Module):
    """`dropout` as a layer."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x of any shape."""
        return dropout(x, self.rate, self.training)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
