"""A front end that hears either the waveform or log-mel features, for methods that offer both."""

from typing import Any, Literal

import torch
from torch import nn

from speechrep.nn.front import MelFront, WaveFront
from speechrep.nn.masking import pad_mask
from speechrep.nn.standardise import Standardise


Scope = Literal["part", "utterance", "speaker"]
"""Within what log-mel is standardised: the training part, as every method does by itself, or before that each utterance or
each speaker (`speechrep.data.standardise`)."""


class Hearing(nn.Module):
    """Frames of width `dim` from "audio", by convolutions of these kernels and strides with a norm over channels and
    ReLU as in CPC, or from "feats", standardised by `mean` and `std` [D], by two convolutions and a norm over channels: without
    it frames hardly vary at the start.

    log_compression: log(1 + |x|) of each frame, as released with wav2vec.
    """

    def __init__(self, front: Literal["mel", "wave"], dim: int, mel_stride: int, kernels: tuple[int, ...],
                 strides: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...],
                 log_compression: bool = False):
        super().__init__()
        self.stream, self.log_compression = stream_of(front), log_compression
        if front == "mel":
            self.standardise, self.front = Standardise(mean, std), MelFront(len(mean), dim, mel_stride)
            self.norm = nn.LayerNorm(dim)
        else:
            self.standardise = self.norm = None
            self.front = WaveFront(dim, kernels, strides, "channel", bias=True, activation="relu")

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames given for so many samples or feature frames [B]."""
        return self.front.frame_lengths(lengths)

    def forward(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch's stream -> frames [B, N, D], zero in padding, with N the longest's, and lengths [B]."""
        x, lengths = batch[self.stream], batch[f"{self.stream}_lengths"]
        if self.standardise is not None:
            x = self.standardise(x, lengths)
        x, lengths = self.front(x, lengths)
        x = x[:, :int(lengths.max())]
        if self.norm is not None:
            x = self.norm(x).masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0)
        if self.log_compression:
            x = (x.abs() + 1).log().masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0)
        return x, lengths


def stream_of(front: Literal["mel", "wave"]) -> str:
    """The stream of a batch that a front end hears."""
    return "feats" if front == "mel" else "audio"


def need_of(hears_mel: bool, standardise_by: Scope) -> str:
    """The stream that a method needs to hear (`speechrep.data.dataset`)."""
    if not hears_mel:
        return "audio"
    return "feats" if standardise_by == "part" else f"feats:{standardise_by}"


def check_scope(hears_mel: bool, standardise_by: Scope) -> None:
    """Raises ValueError where the log-mel of utterances or speakers is to be standardised, but is not heard."""
    if standardise_by != "part" and not hears_mel:
        raise ValueError(f"standardise_by {standardise_by} is of log-mel, but the waveform is heard")
