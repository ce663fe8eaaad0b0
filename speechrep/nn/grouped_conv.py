"""A grouped convolution along time over the rows of a batch, each utterance between zeros.

On a CPU the utterances stand one behind the other with half a kernel of zeros between them, so that the time goes with
the sum of the lengths and not with the longest; and the gradients are worked out as another convolution and one small
matrix product a tap, which for kernels as wide as the positional ones is twice as fast as torch's own.
"""

import torch
import torch.nn.functional as F

from speechrep.nn.packing import Rows

NARROW = 16
"""Channels of a group, below which nothing is computed in half precision on a CPU."""


def grouped_conv(x: torch.Tensor, rows: Rows, weight: torch.Tensor, bias: torch.Tensor, groups: int) -> torch.Tensor:
    """x [M, C], weight [C', C / groups, k], bias [C'] -> [M, C']: frame n is the window from n - k // 2 on. Follows
    autocast."""
    reach = weight.shape[-1] // 2
    if x.device.type != "cpu":
        y = F.conv1d(rows.unpack(x).transpose(1, 2), weight, bias, padding=reach, groups=groups)
        # An even kernel gives one frame too many.
        return rows.pack(y[..., :rows.size].transpose(1, 2))
    if torch.is_autocast_enabled("cpu"):
        # With AMX, oneDNN 3.10 gets narrower groups wrong by their whole size in half precision.
        dtype = torch.get_autocast_dtype("cpu") if weight.shape[1] >= NARROW else torch.float32
        x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    gaps = torch.arange(1, len(rows.counts) + 1).repeat_interleave(rows.lengths) * reach
    place = torch.arange(len(x)) + gaps
    size = len(x) + reach * (len(rows.counts) + 1)
    line = x.new_zeros(size, x.shape[1]).index_copy(0, place, x)
    with torch.autocast("cpu", enabled=False):
        y = _GroupedConv.apply(line.T.contiguous(), weight, bias, groups)
    # Without zeros at its ends the convolution begins at the frame whose window is whole.
    return y.T.index_select(0, place - reach)


class _GroupedConv(torch.autograd.Function):
    """x [C, T], weight [C', C / groups, k], bias [C'] -> [C', T - k + 1]."""

    @staticmethod
    def forward(ctx, x, weight, bias, groups):
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return F.conv1d(x[None], weight, bias, groups=groups)[0]

    @staticmethod
    def backward(ctx, gradient):
        (x, weight), groups = ctx.saved_tensors, ctx.groups
        outs, ins, kernel = weight.shape
        gradient = gradient.contiguous()
        grouped = weight.view(groups, outs // groups, ins, kernel)
        back = grouped.transpose(1, 2).flip(-1).reshape(groups * ins, outs // groups, kernel)
        to_x = F.conv1d(F.pad(gradient, (kernel - 1, kernel - 1))[None], back, groups=groups)[0]
        size = gradient.shape[1]
        heard = x.view(groups, ins, -1).transpose(1, 2).contiguous()
        split = gradient.view(groups, outs // groups, size)
        taps = torch.empty(kernel, groups, outs // groups, ins, dtype=x.dtype)
        for tap in range(kernel):
            torch.bmm(split, heard[:, tap:tap + size], out=taps[tap])
        return to_x, taps.permute(1, 2, 3, 0).reshape(weight.shape), gradient.sum(1), None
