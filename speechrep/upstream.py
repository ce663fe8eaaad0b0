"""What downstream tasks stand on: a checkpoint, plain features or an untrained network, as layers of frame features."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from speechrep.config import build
from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch, Method, find_method
from speechrep.nn.masking import pad_mask
from speechrep.released import is_released, load_released
from speechrep.train import checkpoint

FEATURES = ("logmel", "fbank", "mfcc")
UNTRAINED_SEED = 20


def load_method(path: str | Path, device: str | torch.device = "cpu", untrained: bool = False) -> Method:
    """The method in a checkpoint, in eval mode; `untrained` gives the same network with fresh weights."""
    content = checkpoint.load(path, device)
    if "upstream" in content:
        raise SpeechrepError(f"{path}: the checkpoint of a task, {content['method']}", "the checkpoint of a method")
    method = _make(content["method"], content["config"], checkpoint.load_inventory(content))
    if not untrained:
        try:
            method.load_state_dict(content["model"])
        except RuntimeError as error:
            raise SpeechrepError(f"{path}: weights that do not fit its own configuration "
                                 f"({str(error).splitlines()[0]})", "a checkpoint of this version of speechrep",
                                 "train it again") from None
    return method.to(device).eval()


def _make(name: str, config: dict[str, Any], inventory: Inventory) -> Method:
    cls = find_method(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        return cls(build(cls.Config, config, f"config of {name}"), inventory)


class Upstream(nn.Module):
    """Layers of frame features from dumped features.

    `kind` is the dump that it reads; `hop_samples` and `rate_hz` are those of its frames; `dims` holds the width of each
    layer. Made by `Upstream.open`.
    """

    def __init__(self, spec: str, method: Method | None, inventory: Inventory):
        super().__init__()
        self.spec, self.method, self.inventory = spec, method, inventory
        self.kind, self.rate_hz = inventory.features["kind"], inventory.features["rate_hz"]
        self.register_buffer("mean", torch.tensor(inventory.mean))
        self.register_buffer("std", torch.tensor(inventory.std))
        self.eval()
        sizes = torch.tensor([64])
        with torch.no_grad():
            layers, lengths = self.layers({"feats": torch.zeros(1, 64, len(inventory.mean)), "feats_lengths": sizes})
        self.dims = tuple(layer.shape[-1] for layer in layers)
        self.stride = round(64 / int(lengths[0]))
        self.hop_samples = inventory.features["hop_samples"] * self.stride

    @classmethod
    def open(cls, spec: str, features: Inventory | None = None, device: str | torch.device = "cpu") -> "Upstream":
        """spec: "mfcc", "fbank" or "logmel" (dumped features as they are, normalised by `features`), the path of a
        checkpoint, or "random:PATH" for an untrained network of the same shape, or a folder in transformers' format
        (`speechrep.released`), which hears the audio of the dump that `features` describes."""
        if spec in FEATURES:
            if features is None:
                raise SpeechrepError(f"upstream {spec} without feature statistics", "the inventory of a dump")
            return cls(spec, None, features).to(device)
        if is_released(spec):
            method = load_released(spec, features)
            return cls(spec, method, method.inventory).to(device)
        method = load_method(spec.removeprefix("random:"), untrained=spec.startswith("random:"))
        return cls(spec, method, method.inventory).to(device)

    @classmethod
    def build(cls, spec: str, method: str | None, config: dict[str, Any] | None, inventory: Inventory,
              device: str | torch.device = "cpu") -> "Upstream":
        """An upstream of the given shape whose weights are loaded later, from a task's checkpoint."""
        return cls(spec, None if method is None else _make(method, config, inventory), inventory).to(device)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The features of every layer, each [B, N, D], and their lengths [B]."""
        if self.method is not None:
            return self.method.layers(batch)
        feats = (batch["feats"] - self.mean) / self.std
        pad = pad_mask(batch["feats_lengths"], feats.shape[1])
        return [feats.masked_fill(pad[..., None], 0)], batch["feats_lengths"]

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames given for inputs of these lengths [B]."""
        return lengths if self.method is None else self.method.frame_lengths(lengths)
