"""EfficientNet-Lite0 over pictures (Tan and Le, arXiv 1905.11946; the Lite form has no squeeze-and-excitation, ReLU6 for
swish, and a first and last convolution of fixed width).

Small enough for a CPU: 3.4 M parameters, 0.39 GMAC for a picture of 224 x 224. Its padding is TensorFlow's, with which it
was trained: where a stride leaves one row more on one side, that is below and to the right.
"""

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.picture_norm import picture_norm

STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))
"""Blocks, kernel, stride of the first, expansion, channels of each stage: table 1 of the paper."""

STEM, HEAD = 32, 1280
EPS = 1e-3
"""Of its batch norms."""


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: [B, C, H, W] -> [B, C', ceil(H / stride), ceil(W / stride)]."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        rows, columns = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        if rows % 2 == columns % 2 == 0:
            return F.conv2d(x, self.weight, None, stride, (rows // 2, columns // 2), groups=self.groups)
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, self.weight, None, stride, groups=self.groups)


class InvertedBlock(nn.Module):
    """1 x 1 convolution to `expansion` times the channels, one channel by channel, 1 x 1 to `out`; a residual where the
    shape stays: [B, C, H, W] -> [B, out, H / stride, W / stride]."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int, norm: str):
        super().__init__()
        width = channels * expansion
        self.expand = None
        if expansion > 1:
            self.expand, self.expand_norm = SameConv2d(channels, width, 1), picture_norm(norm, width, EPS)
        self.depthwise = SameConv2d(width, width, kernel, stride, groups=width)
        self.depthwise_norm = picture_norm(norm, width, EPS)
        self.project, self.project_norm = SameConv2d(width, out, 1), picture_norm(norm, out, EPS)
        self.residual = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else F.relu6(self.expand_norm(self.expand(x)))
        y = F.relu6(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Pictures [B, 3, H, W] -> their maps [B, 1280, H / 32, W / 32]."""

    rgb_mean, rgb_std = (127 / 255,) * 3, (128 / 255,) * 3
    """What pictures in [0, 1] are standardised by, as the released networks expect."""

    def __init__(self, norm: str = "group"):
        super().__init__()
        self.dim = HEAD
        self.stem, self.stem_norm = SameConv2d(3, STEM, 3, 2), picture_norm(norm, STEM, EPS)
        blocks, channels = [], STEM
        for count, kernel, stride, expansion, out in STAGES:
            for number in range(count):
                blocks.append(InvertedBlock(channels, out, kernel, 1 if number else stride, expansion, norm))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head, self.head_norm = SameConv2d(channels, HEAD, 1), picture_norm(norm, HEAD, EPS)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.stem_norm(self.stem(x)))
        return F.relu6(self.head_norm(self.head(self.blocks(x))))


RELEASED = {"_conv_stem": "stem", "_bn0": "stem_norm", "_conv_head": "head", "_bn1": "head_norm", "_blocks": "blocks"}
RELEASED_BLOCK = {"_expand_conv": "expand", "_bn0": "expand_norm", "_depthwise_conv": "depthwise", "_bn1": "depthwise_norm",
                  "_project_conv": "project", "_bn2": "project_norm"}
"""Names of the released weights' modules (the package efficientnet-lite-pytorch) and ours."""


def from_released(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Released weights under our names, without the classifier. Raises ValueError for a name that isn't theirs."""
    renamed = {}
    for name, value in weights.items():
        first, *rest = name.split(".")
        if first == "_fc" or rest[-1:] == ["num_batches_tracked"]:
            continue
        try:
            if first == "_blocks":
                rest[1] = RELEASED_BLOCK[rest[1]]
            renamed[".".join([RELEASED[first], *rest])] = value
        except (KeyError, IndexError):
            raise ValueError(f"{name} is none of its names") from None
    return renamed
