"""Cepstra of log-mel features, with differences, inside a network."""

import math

import torch
import torch.nn.functional as F

from speechrep.nn.masking import pad_mask


def cosines(size: int, count: int) -> torch.Tensor:
    """The first `count` vectors (at most `size`) of the orthonormal discrete cosine transform of type II [size,
    count]."""
    count = min(size, count)
    angles = math.pi / size * (torch.arange(size)[:, None] + 0.5) * torch.arange(count)
    basis = math.sqrt(2 / size) * angles.cos()
    basis[:, 0] = math.sqrt(1 / size)
    return basis


def with_differences(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """x [B, N, D] with its first and second differences [B, N, 3 D]: slopes over two frames on either side, the first
    and last frame repeated beyond the ends, as `speechrep.data.features.add_deltas`; zero in padding."""
    parts, place = [x], torch.arange(x.shape[1], device=x.device)
    slope = torch.arange(-2.0, 3.0, device=x.device) / 10
    taps = [slope, F.conv1d(F.pad(slope, (4, 4))[None, None], slope.flip(0)[None, None])[0, 0]]
    for weights in taps:
        reach = len(weights) // 2
        total = torch.zeros_like(x)
        for offset, weight in zip(range(-reach, reach + 1), weights):
            index = torch.minimum((place + offset).clamp(min=0).expand(len(x), -1), lengths[:, None] - 1)
            total = total + weight * torch.gather(x, 1, index[..., None].expand_as(x))
        parts.append(total)
    return torch.cat(parts, -1).masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0)
