"""Front ends: what turns feature frames or a waveform into the frames that a transformer reads.

`WaveFront` is the convolution stack of wav2vec 2.0 (Baevski et al., arXiv 2006.11477, 2) and, with other sizes, of CPC.
Its utterances stand one behind the other in a single row of samples, each beginning at a multiple of the hop, so that
the frames fall where they would fall alone and no time goes into padding; frames whose window reaches over an
utterance's end are dropped. A strided convolution over rows is a few matrix products (`speechrep.nn.strided_conv`).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.masking import pad_mask
from speechrep.nn.packing import Rows
from speechrep.nn.strided_conv import first_conv_gelu, strided_conv

EPS = 1e-5


class MelFront(nn.Module):
    """Two 3-wide convolutions with GELU, the second with the stride, as in Whisper; a stride of 4 is 2 x 2."""

    def __init__(self, in_dim: int, dim: int, stride: int):
        super().__init__()
        if stride not in (1, 2, 4):
            raise ValueError(f"stride {stride}, wanted 1, 2 or 4")
        first = 2 if stride == 4 else 1
        self.strides = (first, stride // first)
        self.convs = nn.ModuleList(nn.Conv1d(a, dim, 3, stride=s, padding=1)
                                   for a, s in zip((in_dim, dim), self.strides))

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames given for so many feature frames [B]."""
        for stride in self.strides:
            lengths = (lengths + stride - 1) // stride
        return lengths

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x [B, N, D] zero behind `lengths` -> [B, ceil(N / stride), D], lengths [B]."""
        for conv, stride in zip(self.convs, self.strides):
            x = F.gelu(conv(x.transpose(1, 2))).transpose(1, 2)
            lengths = (lengths + stride - 1) // stride
            x = x.masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0)
        return x, lengths


class WaveFront(nn.Module):
    """Strided convolutions without padding over a waveform.

    channels: of each layer, or one number for all. norm "group": each channel of the first layer is normalised over its
    utterance's frames, padding left out (wav2vec 2.0 base, HuBERT base); "layer" or, as CPC calls it, "channel": every
    layer normalises each frame over its channels. activation: behind each layer.
    """

    def __init__(self, channels: int | tuple[int, ...], kernels: tuple[int, ...], strides: tuple[int, ...],
                 norm: Literal["group", "layer", "channel"] = "group", bias: bool = False,
                 activation: Literal["gelu", "relu"] = "gelu"):
        super().__init__()
        channels = (channels,) * len(kernels) if isinstance(channels, int) else tuple(channels)
        if not len(channels) == len(kernels) == len(strides):
            raise ValueError(f"{len(channels)} channels, {len(kernels)} kernels and {len(strides)} strides, "
                             "wanted as many of each")
        self.kernels, self.strides, self.norm, self.activation = tuple(kernels), tuple(strides), norm, activation
        self.dim, self.hop = channels[-1], math.prod(strides)
        ins = (1, *channels[:-1])
        self.weights = nn.ParameterList(torch.empty(b, a, k) for a, b, k in zip(ins, channels, kernels))
        for weight in self.weights:
            nn.init.kaiming_normal_(weight)
        # A group norm takes a bias out again, so its layer has none.
        self.biases = nn.ParameterList(torch.zeros(b) for b in channels[norm == "group":]) if bias else None
        normed = channels[:1] if norm == "group" else channels
        self.gains = nn.ParameterList(torch.ones(dim) for dim in normed)
        self.shifts = nn.ParameterList(torch.zeros(dim) for dim in normed)

    def frame_lengths(self, samples: torch.Tensor) -> torch.Tensor:
        """Frames given for so many samples [B]."""
        for kernel, stride in zip(self.kernels, self.strides):
            samples = (samples - kernel).div(stride, rounding_mode="floor") + 1
        return samples.clamp(min=0)

    def forward(self, audio: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """audio [B, T] -> frames [B, N, C] zero in padding, N the longest's, and lengths [B]."""
        rows, frames = self.rows(audio, lengths)
        return Rows(frames).unpack(rows), frames

    def rows(self, audio: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """audio [B, T] -> the frames of all utterances one behind the other [M, C], and how many each has [B]."""
        counts = lengths.tolist()
        slots = [-(-count // self.hop) for count in counts]
        x = torch.cat([F.pad(row[:count], (0, slot * self.hop - count))
                       for row, count, slot in zip(audio, counts, slots)])
        for i, (weight, kernel, stride) in enumerate(zip(self.weights, self.kernels, self.strides)):
            if i == 0 and self.norm == "group":
                x = self._first(x, counts, slots)
                continue
            bias = None if self.biases is None else self.biases[i - (self.norm == "group")]
            x = strided_conv(x if i else x[:, None], weight, bias, stride)
            if self.norm != "group":
                x = F.layer_norm(x, x.shape[-1:], self.gains[i], self.shifts[i], EPS)
            x = F.gelu(x) if self.activation == "gelu" else F.relu(x)
        frames = self.frame_lengths(lengths)
        kept = torch.cat([torch.arange(count, device=x.device) + start for count, start in
                          zip(frames.tolist(), [sum(slots[:i]) for i in range(len(slots))])])
        return x.index_select(0, kept), frames

    def _first(self, x: torch.Tensor, counts: list[int], slots: list[int]) -> torch.Tensor:
        """The first layer with its group norm. A channel is linear in its window of samples, so mean and variance over
        an utterance follow from those of the windows, and the norm is another weight and bias for each utterance."""
        kernel, stride = self.kernels[0], self.strides[0]
        windows = F.pad(x, (0, kernel - stride)).unfold(0, kernel, stride)
        sizes = [slot * self.hop // stride for slot in slots]
        with torch.autocast(x.device.type, enabled=False):
            matrix = self.weights[0][:, 0].float()
            means, spreads = [], []
            for part, count in zip(windows.split(sizes), counts):
                valid = part[:max((count - kernel) // stride + 1, 1)].double()
                mean = valid.mean(0)
                means.append(mean)
                spreads.append((valid - mean).T @ (valid - mean) / len(valid))
            mean, spread = torch.stack(means).float(), torch.stack(spreads).float()
            variance = torch.einsum("ck,bkl,cl->bc", matrix, spread, matrix).clamp(min=0)
            gain = self.gains[0] * (variance + EPS).rsqrt()
            shift = self.shifts[0] - gain * (mean @ matrix.T)
            weights = matrix * gain[..., None]
        if self.activation == "gelu":
            return first_conv_gelu(windows, weights, shift, sizes)
        return torch.cat([F.relu(torch.addmm(b, part, w.T)) for part, w, b in
                          zip(windows.split(sizes), weights, shift)])


def unit_audio(audio: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Each utterance of audio [B, T] with zero mean and unit variance over its own samples; zero in padding."""
    inside = ~pad_mask(lengths, audio.shape[1])
    mean = (audio * inside).sum(1, keepdim=True) / lengths[:, None]
    centred = (audio - mean) * inside
    variance = centred.square().sum(1, keepdim=True) / lengths[:, None]
    return centred * (variance + 1e-7).rsqrt()


def resampled(audio: torch.Tensor, from_hz: int, to_hz: int) -> torch.Tensor:
    """Audio [B, T], with zeros in padding, at another rate [B, ceil(T * to_hz / from_hz)], by torchaudio's windowed sinc."""
    from torchaudio.functional import resample  # takes seconds to import, and few models need it
    with torch.autocast(audio.device.type, enabled=False):
        return resample(audio.float(), from_hz, to_hz)


def scale_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """`x` itself, whose gradient is multiplied by `factor` on its way back."""
    return x if factor == 1 else _ScaleGradient.apply(x, factor)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * ctx.factor, None
