"""The generator of HiFi-GAN (arXiv 2010.05646, 2.2 and appendix A.1), for released weights; it is not trained here.

Parameter names are those of the released checkpoints without their weight normalisation: `merge_weight_norm` turns
the pairs of a checkpoint (`x.weight_g`, `x.weight_v`) into the weights they stand for.
"""

import torch
import torch.nn.functional as F
from torch import nn

SLOPE = 0.1
"""Negative slope of the leaky ReLU inside the network (released code); the last one has 0.01."""


class Residual(nn.Module):
    """Three pairs of convolutions, the first of each dilated (the paper's ResBlock1): names `convs1`, `convs2`."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]):
        super().__init__()
        self.convs1 = nn.ModuleList(_conv(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_conv(channels, kernel, 1) for _ in dilations)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for first, second in zip(self.convs1, self.convs2):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class ShortResidual(nn.Module):
    """Single dilated convolutions (the paper's ResBlock2, of the smallest model): name `convs`."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]):
        super().__init__()
        self.convs = nn.ModuleList(_conv(channels, kernel, dilation) for dilation in dilations)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, SLOPE))
        return x


class HifiGan(nn.Module):
    """Log-mel features [B, N, D] -> samples [B, N * hop], hop being the product of `upsample_rates`."""

    def __init__(self, n_mels: int, upsample_rates: tuple[int, ...], upsample_kernels: tuple[int, ...],
                 channels: int, residual_kernels: tuple[int, ...], residual_dilations: tuple[tuple[int, ...], ...],
                 short: bool = False):
        super().__init__()
        self.conv_pre = nn.Conv1d(n_mels, channels, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(upsample_rates, upsample_kernels):
            self.ups.append(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2))
            channels //= 2
            for size, dilations in zip(residual_kernels, residual_dilations):
                self.resblocks.append((ShortResidual if short else Residual)(channels, size, dilations))
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)
        self.branches = len(residual_kernels)

    def forward(self, feats: torch.Tensor) -> torch.Tensor:
        x = self.conv_pre(feats.transpose(1, 2))
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            blocks = self.resblocks[i * self.branches:(i + 1) * self.branches]
            x = sum(block(x) for block in blocks) / self.branches
        return torch.tanh(self.conv_post(F.leaky_relu(x, 0.01)))[:, 0]


def merge_weight_norm(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same state with every weight-normalised pair replaced by its weight g * v / |v| (arXiv 1602.07868, eq. 2).

    Both of PyTorch's spellings are known: `weight_g`, `weight_v` and `parametrizations.weight.original0`, `original1`.
    """
    spellings = ((".weight_g", ".weight_v"),
                 (".parametrizations.weight.original0", ".parametrizations.weight.original1"))
    merged = dict(state)
    for of_length, of_direction in spellings:
        for key in [key for key in merged if key.endswith(of_length)]:
            name = key.removesuffix(of_length)
            length, direction = merged.pop(key), merged.pop(name + of_direction)
            norm = direction.flatten(1).norm(dim=1).view(-1, *[1] * (direction.ndim - 1))
            merged[name + ".weight"] = length * direction / norm
    return merged


def _conv(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)
