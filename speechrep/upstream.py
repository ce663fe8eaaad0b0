"""What downstream tasks stand on: a checkpoint, plain features or an untrained network, as layers of frame features.

An upstream may give one vector an utterance in place of frames: a method that says so (`Method.utterance_level`), and
"mean:SPEC", the mean over each utterance of another upstream's layers.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from speechrep.bundles import is_bundle, load_bundle
from speechrep.config import build
from speechrep.data.inventory import Inventory
from speechrep.data.standardise import BY_SPEAKER
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch, Method, find_method
from speechrep.nn.masking import pad_mask
from speechrep.released import is_released, load_released
from speechrep.train import checkpoint

FEATURES = ("logmel", "fbank", "mfcc")
MEAN_OF, RANDOM = "mean:", "random:"
"""What a spec may begin with, in this order."""
UNTRAINED_SEED = 20
LONG = 2 ** 24
"""Input steps over which the hop is measured: the few frames that borders cost vanish in it."""


def load_method(path: str | Path, device: str | torch.device = "cpu", untrained: bool = False) -> Method:
    """The method in a checkpoint, in eval mode; `untrained` gives the same network with fresh weights, which are others for
    the checkpoint of another seed, as a floor over seeds has to be."""
    content = checkpoint.load(path, device)
    if "upstream" in content:
        raise SpeechrepError(f"{path}: the checkpoint of a task, {content['method']}", "the checkpoint of a method")
    # Checkpoints of earlier versions do not tell their seed.
    seed = UNTRAINED_SEED + content.get("seed", 0)
    method = _make(content["method"], content["config"], checkpoint.load_inventory(content), seed)
    if not untrained:
        try:
            method.load_state_dict(content["model"])
        except RuntimeError as error:
            raise SpeechrepError(f"{path}: weights that do not fit its own configuration "
                                 f"({str(error).splitlines()[0]})", "a checkpoint of this version of speechrep",
                                 "train it again") from None
    return method.to(device).eval()


def _make(name: str, config: dict[str, Any], inventory: Inventory, seed: int = UNTRAINED_SEED) -> Method:
    cls = find_method(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(build(cls.Config, config, f"config of {name}"), inventory)


def source_of(spec: str) -> str:
    """What an upstream is made of, without what is done to it: that of mean:random:PATH is PATH."""
    return spec.removeprefix(MEAN_OF).removeprefix(RANDOM)


def is_utterance_level(spec: str) -> bool:
    """Whether an upstream gives one vector an utterance; nothing is built to know it. Raises `SpeechrepError` as
    `checkpoint.load` does."""
    source = source_of(spec)
    if spec.startswith(MEAN_OF) or source in FEATURES or is_released(source) or is_bundle(source):
        return spec.startswith(MEAN_OF)
    return find_method(checkpoint.load(source, mapped=True)["method"]).utterance_level


def knows_speakers(spec: str) -> bool:
    """Whether an upstream is told which utterances are of one speaker; nothing is built to know it. Raises
    `SpeechrepError` as `checkpoint.load` does."""
    source = source_of(spec)
    if source in FEATURES or is_released(source) or is_bundle(source):
        return False
    content = checkpoint.load(source, mapped=True)
    cls = find_method(content["method"])
    return BY_SPEAKER in cls.needs_of(build(cls.Config, content["config"], f"config of {content['method']}"))


class Upstream(nn.Module):
    """Layers of frame features from dumped features, from samples, or from units that were made of them.

    `needs` names the stream that it hears, such as ("feats",), ("audio",) or ("units:NAME",); `kind` is the dump that goes with
    it, whose settings the samples follow too. `stride` is the step from frame to frame in steps of the input (feature
    frames, samples, units), `hop_samples` the same in samples at `rate_hz`; `dims` holds the width of each layer.
    `utterance_level`: whether each layer is one vector an utterance, which has no step. `knows_speakers`: whether it is told
    which utterances are of one speaker. Made by `Upstream.open`.
    """

    def __init__(self, spec: str, method: Method | None, inventory: Inventory):
        super().__init__()
        self.spec, self.method, self.inventory = spec, method, inventory
        self.kind, self.rate_hz = inventory.features["kind"], inventory.features["rate_hz"]
        self.register_buffer("mean", torch.tensor(inventory.mean))
        self.register_buffer("std", torch.tensor(inventory.std))
        self.needs = ("feats",) if method is None else method.needs[:1]
        self._units = self.needs[0].startswith("units:")
        self.knows_speakers = self.needs == (BY_SPEAKER,)
        self._mean = spec.startswith(MEAN_OF)
        self.utterance_level = self._mean or method is not None and method.utterance_level
        self.eval()
        with torch.no_grad():
            self.dims = tuple(layer.shape[-1] for layer in self.layers(self._silence())[0])
        first, second = self.frame_lengths(torch.tensor([LONG, 2 * LONG])).tolist()
        if (second == first) != self.utterance_level:
            raise SpeechrepError(f"{spec}: {first} and {second} frames of {LONG} and {2 * LONG} steps of the input",
                                 "more frames of more input, or one vector an utterance of a method that says so",
                                 "mend the method's frame_lengths or its utterance_level")
        self._stride = 0 if self.utterance_level else round(LONG / (second - first))

    @property
    def stride(self) -> int:
        """The step from frame to frame in steps of the input. Raises `SpeechrepError` where there are no frames."""
        self.require_frames("what goes by frames")
        return self._stride

    @property
    def hop_samples(self) -> int:
        """`stride` in samples at `rate_hz`."""
        step = 1 if self.needs == ("audio",) else self.inventory.features["hop_samples"]
        return self.stride * step * (self.method.config.unit_frames if self._units else 1)

    def require_frames(self, task: str) -> None:
        """Raises `SpeechrepError` where each layer is one vector an utterance: `task` cannot use that."""
        if self.utterance_level:
            raise SpeechrepError(f"{self.spec} for {task}: it gives one vector an utterance", "an upstream with frames",
                                 "leave it to tasks of whole utterances, such as sid, intent and asv")

    def require_unknown_speakers(self, task: str) -> None:
        """Raises `SpeechrepError` where it is told which utterances are of one speaker: `task` is to find that out."""
        if self.knows_speakers:
            raise SpeechrepError(f"{self.spec} for {task}: it hears log-mel that is standardised by speaker, so it is told who "
                                 "speaks", "an upstream that is not", "train it with model.standardise_by=part or utterance")

    def _silence(self) -> Batch:
        """A second of nothing as a batch of one."""
        frames = self.rate_hz // self.inventory.features["hop_samples"]
        if self.needs == ("audio",):
            samples = frames * self.inventory.features["hop_samples"]
            return {"audio": torch.zeros(1, samples), "audio_lengths": torch.tensor([samples])}
        if self._units:
            return {"units": torch.zeros(1, frames, dtype=torch.long), "units_lengths": torch.tensor([frames])}
        return {"feats": torch.zeros(1, frames, len(self.inventory.mean)), "feats_lengths": torch.tensor([frames])}

    @classmethod
    def open(cls, spec: str, features: Inventory | None = None, device: str | torch.device = "cpu") -> "Upstream":
        """spec: "mfcc", "fbank" or "logmel" (dumped features as they are, normalised by `features`), the path of a
        checkpoint, or "random:PATH" for an untrained network of the same shape, or a folder in transformers' format
        (`speechrep.released`) or "torchaudio:BUNDLE" (`speechrep.bundles`), which hear the audio of the dump that
        `features` describes; or "mean:" and one of these, for the means over utterances."""
        source = source_of(spec)
        if source in FEATURES:
            if features is None:
                raise SpeechrepError(f"upstream {spec} without feature statistics", "the inventory of a dump")
            return cls(spec, None, features).to(device)
        if is_released(source) or is_bundle(source):
            method = (load_bundle if is_bundle(source) else load_released)(source, features)
            return cls(spec, method, method.inventory).to(device)
        method = load_method(source, untrained=spec.removeprefix(MEAN_OF).startswith(RANDOM))
        return cls(spec, method, method.inventory).to(device)

    @classmethod
    def build(cls, spec: str, method: str | None, config: dict[str, Any] | None, inventory: Inventory,
              device: str | torch.device = "cpu") -> "Upstream":
        """An upstream of the given shape whose weights are loaded later, from a task's checkpoint."""
        return cls(spec, None if method is None else _make(method, config, inventory), inventory).to(device)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The features of every layer, each [B, N, D], and their lengths [B]; N = 1 where `utterance_level`."""
        layers, lengths = self._plain(batch) if self.method is None else self.method.layers(batch)
        if not self._mean:
            return layers, lengths
        return [_means(layer, lengths) for layer in layers], torch.ones_like(lengths)

    def _plain(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        feats = (batch["feats"] - self.mean) / self.std
        pad = pad_mask(batch["feats_lengths"], feats.shape[1])
        return [feats.masked_fill(pad[..., None], 0)], batch["feats_lengths"]

    def parameters_from(self, first: int) -> list[nn.Parameter]:
        """The parameters that layers from number `first` on, 1 or more, are made with and no lower layer is. Raises
        `SpeechrepError` where there are none."""
        if not 1 <= first < len(self.dims):
            raise SpeechrepError(f"layer {first} as the first to be trained of {self.spec}, which has {len(self.dims)}",
                                 f"a number from 1 to {len(self.dims) - 1}" if len(self.dims) > 1 else "one of several",
                                 "set model.finetune_from, or leave it at 0 to train all")
        # Of a copy, since training mode may leave traces in buffers. It softens choices of codes, but may drop a layer, with
        # what that shares with others; eval mode does neither.
        copied, below, above = copy.deepcopy(self).cpu().requires_grad_(), set(), set()
        for training in (True, False):
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                layers, _ = copied.train(training).layers(copied._silence())
            below |= _reached(copied, layers[:first])
            above |= _reached(copied, layers[first:])
        own = [parameter for name, parameter in self.named_parameters() if name in above - below]
        if not own:
            raise SpeechrepError(f"nothing to train from layer {first} of {self.spec} on", "a lower number",
                                 "set model.finetune_from")
        return own

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames given for inputs of these lengths [B]."""
        if self._mean:
            return torch.ones_like(lengths)
        return lengths if self.method is None else self.method.frame_lengths(lengths)


def _means(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """[B, N, D] and lengths [B] -> the means over frames [B, 1, D]; of no frames, zeros."""
    # In double precision, as means that are kept are taken (`speechrep.extract.mean_of`).
    total = x.double().masked_fill(pad_mask(lengths.to(x.device), x.shape[1])[..., None], 0).sum(1, keepdim=True)
    return (total / lengths.to(x.device).clamp(min=1)[:, None, None]).to(x.dtype)


def _reached(module: nn.Module, outputs: list[torch.Tensor]) -> set[str]:
    """The names of the parameters that outputs depend on."""
    total = [output.sum() for output in outputs if output.requires_grad]
    if not total:
        return set()
    names, parameters = zip(*module.named_parameters())
    gradients = torch.autograd.grad(sum(total), parameters, retain_graph=True, allow_unused=True)
    return {name for name, gradient in zip(names, gradients) if gradient is not None}
