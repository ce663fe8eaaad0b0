"""Residual networks over pictures (He et al., arXiv 1512.03385).

Parameter names, strides and paddings are those of torchvision's resnet18, 34 and 50, so that their released weights
load as they are, with `norm="frozen"`: batch norm whose statistics and factors stay. Networks trained from scratch
take `norm="group"`, whose output does not depend on the batch.
"""

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.picture_norm import picture_norm

LAYOUTS = {"resnet18": ("basic", (2, 2, 2, 2)), "resnet34": ("basic", (3, 4, 6, 3)),
           "resnet50": ("bottleneck", (3, 4, 6, 3))}
"""Name -> kind of block and blocks of each stage, as in table 1 of the paper."""


class Basic(nn.Module):
    """Two 3 x 3 convolutions and a residual: [B, C_in, H, W] -> [B, width, H / stride, W / stride]."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, norm: str):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = picture_norm(norm, width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = picture_norm(norm, width)
        self.downsample = _shortcut(channels, width, stride, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (with the stride) and 1 x 1 convolutions: [B, C_in, H, W] -> [B, 4 * width, ...]."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, norm: str):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = picture_norm(norm, width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = picture_norm(norm, width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = picture_norm(norm, 4 * width)
        self.downsample = _shortcut(channels, 4 * width, stride, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(channels: int, out: int, stride: int, norm: str) -> nn.Module | None:
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), picture_norm(norm, out))


class ResNet(nn.Module):
    """Pictures [B, 3, H, W] -> their maps [B, dim, H / 32, W / 32].

    layout: a name of `LAYOUTS`. width: channels of the first stage, doubled by each of the next three; 64 in the paper.
    small: for pictures of 64 pixels or so: a 3 x 3 first convolution and no pooling, hence a 16th of the side, not a
    32nd.
    """

    rgb_mean, rgb_std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    """What pictures in [0, 1] are standardised by, as the released networks expect."""

    def __init__(self, layout: str = "resnet18", width: int = 64, norm: str = "group", small: bool = False):
        super().__init__()
        kind, counts = LAYOUTS[layout]
        block = Basic if kind == "basic" else Bottleneck
        self.small = small
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = picture_norm(norm, width)
        channels = width
        for stage, count in enumerate(counts):
            blocks = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                blocks.append(block(channels, width * 2 ** stage, stride, norm))
                channels = width * 2 ** stage * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.dim = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = F.max_pool2d(x, 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))
