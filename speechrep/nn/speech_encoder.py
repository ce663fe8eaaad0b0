"""What wav2vec 2.0, HuBERT, WavLM, data2vec and MT4SSL have in common: a front end, a projection, a learned vector in
place of hidden frames, a transformer trunk. Everything behind the front end works on rows without padding.

`EncoderSizes` is the part of their configurations that describes it; a method's own `Config` inherits it. The defaults
are the base size of wav2vec 2.0 (arXiv 2006.11477, 4.2, and the released configuration).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from speechrep.nn.dropout import dropout
from speechrep.nn.front import MelFront, WaveFront, resampled, scale_gradient, unit_audio
from speechrep.nn.hearing import Scope, check_scope, need_of, stream_of
from speechrep.nn.masking import generators_of, pad_mask, span_mask
from speechrep.nn.packing import Rows
from speechrep.nn.trunk import Trunk


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes and choices of a masked encoder."""

    front: Literal["mel", "wave"] = "wave"
    """What it hears: dumped log-mel features through two convolutions, or the waveform through seven."""
    mel_stride: int = 2
    """Feature frames per frame of the trunk (front "mel"): 1, 2 or 4."""
    standardise_by: Scope = "part"
    """Within what log-mel is standardised (front "mel"): the training part, each utterance, or each speaker."""
    front_dim: int = 512
    """Channels of the front end."""
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    """Widths of the waveform's convolutions."""
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    """Strides of the waveform's convolutions: 320 samples a frame."""
    front_norm: Literal["group", "layer"] = "group"
    """Norm of the waveform's convolutions: over time in the first (base sizes), or over channels in each."""
    front_bias: bool = False
    """Whether the waveform's convolutions have a bias."""
    unit_audio: bool = False
    """Whether each waveform is brought to zero mean and unit variance."""
    audio_rate_hz: int = 0
    """Sampling rate of the waveform that is given, where it is not the one that the front end was made for."""
    front_rate_hz: int = 0
    """To which it is brought for the front end; 0, as audio_rate_hz then is too: heard as it is."""
    front_gradient: float = 0.1
    """Factor on the gradient into the front end (released configuration)."""
    layers: int = 12
    """Layers of the trunk."""
    dim: int = 768
    """Width of the trunk."""
    heads: int = 12
    """Attention heads."""
    ffn_dim: int = 3072
    """Width of the feed-forward networks."""
    norm_first: bool = False
    """Whether norms stand before the branches (large sizes) or behind them (base sizes)."""
    local: bool = False
    """Whether every layer begins with a time-delay block; no paper's, for small sizes."""
    positions: Literal["conv", "stack"] = "conv"
    """Positions from one wide convolution or from a stack of narrow ones."""
    position_kernel: int = 128
    """Width of the positional convolution in frames."""
    position_groups: int = 16
    """Groups of the positional convolution."""
    position_layers: int = 5
    """Convolutions of a stack."""
    dropout: float = 0.1
    """Dropout of the trunk's branches and of its input."""
    attention_dropout: float = 0.1
    """Dropout of attention weights."""
    activation_dropout: float = 0.0
    """Dropout within the feed-forward networks."""
    input_dropout: float = 0.1
    """Dropout of the projected front end (released configuration)."""
    layerdrop: float = 0.05
    """Share of layers left out of a training step (released configuration)."""
    mask_share: float = 0.65
    """Frames that would be hidden if spans never overlapped, as a share of all."""
    mask_span: int = 10
    """Length of a hidden span in frames."""
    least_spans: int = 2
    """Hidden spans that every utterance gets."""

    def __post_init__(self):
        check_scope(self.front == "mel", self.standardise_by)
        if self.mel_stride not in (1, 2, 4):
            raise ValueError(f"mel_stride {self.mel_stride}, wanted 1, 2 or 4")
        if bool(self.audio_rate_hz) != bool(self.front_rate_hz) or self.front_rate_hz and self.front == "mel":
            raise ValueError(f"audio_rate_hz {self.audio_rate_hz} and front_rate_hz {self.front_rate_hz}, "
                             "wanted both or neither, of a front end that hears the waveform")
        if len(self.kernels) != len(self.strides):
            raise ValueError(f"{len(self.kernels)} kernels and {len(self.strides)} strides, wanted as many of each")
        if self.dim % self.heads or self.dim % self.position_groups:
            raise ValueError(f"dim {self.dim} must be a multiple of heads and of position_groups")

    @property
    def stream(self) -> str:
        """The stream of a batch that it hears."""
        return stream_of(self.front)

    @property
    def need(self) -> str:
        """What must be asked for so that a batch has that stream, standardised as it should be."""
        return need_of(self.front == "mel", self.standardise_by)


class SpeechEncoder(nn.Module):
    """Front end, projection and trunk.

    mean, std [D]: of the log-mel features (front "mel"). bias: the trunk's position bias. buckets and farthest are
    those of a gated bias.
    """

    def __init__(self, sizes: EncoderSizes, mean: tuple[float, ...], std: tuple[float, ...],
                 bias: Literal["none", "gated"] = "none", buckets: int = 320, farthest: int = 800):
        super().__init__()
        s = self.sizes = sizes
        if s.front == "mel":
            self.register_buffer("mean", torch.tensor(mean))
            self.register_buffer("std", torch.tensor(std))
            self.front = MelFront(len(mean), s.front_dim, s.mel_stride)
        else:
            self.front = WaveFront(s.front_dim, s.kernels, s.strides, s.front_norm, s.front_bias)
        self.norm = nn.LayerNorm(s.front_dim)
        self.project = nn.Linear(s.front_dim, s.dim)
        self.hidden_vector = nn.Parameter(torch.rand(s.dim))
        self.trunk = Trunk(s.layers, s.dim, s.heads, s.ffn_dim, s.dropout, s.attention_dropout, s.activation_dropout,
                           s.layerdrop, s.norm_first, s.positions, s.position_kernel, s.position_groups,
                           s.position_layers, bias, buckets, farthest, s.local)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        """Frames given for so many samples or feature frames [B]."""
        return self.front.frame_lengths(self._resampled_lengths(lengths))

    def _resampled_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        s = self.sizes
        return lengths if not s.front_rate_hz else -(-lengths * s.front_rate_hz // s.audio_rate_hz)

    def lengths_of(self, batch: dict[str, Any]) -> torch.Tensor:
        """Frames of each utterance of a batch [B]."""
        return self.frame_lengths(batch[f"{self.sizes.stream}_lengths"])

    def centres(self, size: int, hop_samples: int, rate_hz: int, device: torch.device | None = None) -> torch.Tensor:
        """Times of the middle of the first `size` frames in seconds [size]; `hop_samples` is that of feature frames."""
        place = torch.arange(size, device=device, dtype=torch.double)
        if self.sizes.front == "mel":
            return (place * self.sizes.mel_stride + 0.5) * hop_samples / rate_hz
        reach, hop = 1, 1
        for kernel, stride in zip(self.sizes.kernels, self.sizes.strides):
            reach, hop = reach + (kernel - 1) * hop, hop * stride
        return (place * hop + reach / 2) / (self.sizes.front_rate_hz or rate_hz)

    def draw_hidden(self, batch: dict[str, Any]) -> torch.Tensor:
        """Which frames to hide [B, N], drawn from the batch's seeds."""
        s = self.sizes
        return span_mask(self.lengths_of(batch), s.mask_share, s.mask_span, generators_of(batch["seeds"]),
                         s.least_spans)

    def hear(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Rows]:
        """What the front end gives for a batch with "feats" or "audio": its frames [M, C] and where they belong."""
        s = self.sizes
        x, lengths = batch[s.stream], batch[f"{s.stream}_lengths"]
        if s.front == "mel":
            inside = ~pad_mask(lengths, x.shape[1])
            x, lengths = self.front((x - self.mean) / self.std * inside[..., None], lengths)
            rows = Rows(lengths)
            frames = rows.pack(x[:, :rows.size])
        else:
            if s.front_rate_hz:
                x, lengths = resampled(x, s.audio_rate_hz, s.front_rate_hz), self._resampled_lengths(lengths)
            frames, lengths = self.front.rows(unit_audio(x, lengths) if s.unit_audio else x, lengths)
            rows = Rows(lengths)
        return scale_gradient(frames, s.front_gradient), rows

    def enter(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames [M, C] -> normed [M, C] and projected to the trunk's width [M, D]."""
        normed = self.norm(frames)
        return normed, self.project(normed)

    def hide(self, x: torch.Tensor, hidden: torch.Tensor | None = None) -> torch.Tensor:
        """The trunk's input [M, D]: dropout, and the learned vector where `hidden` [M] is True."""
        x = dropout(x, self.sizes.input_dropout, self.project.training)
        return x if hidden is None else torch.where(hidden[:, None], self.hidden_vector.to(x.dtype), x)

    def layers(self, batch: dict[str, Any]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The trunk's input and every layer's output, each [B, N, D] with zeros in padding, and lengths [B]."""
        frames, rows = self.hear(batch)
        outputs, _ = self.trunk.rows(self.hide(self.enter(frames)[1]), rows)
        return [rows.unpack(output) for output in outputs], rows.lengths
