"""Log-mel spectrograms (HiFi-GAN's convention), and Kaldi's filterbanks and MFCC.

The features of an utterance depend on its samples alone. They are computed in blocks of frames, so the memory beyond
input and output is bounded whatever the length. Frequencies are in Hz, sizes in samples.
"""

import functools
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

BLOCK_FRAMES = 250
"""Frames computed at a time: the intermediate values, about 2 MB at 512 points, stay in the processor's cache."""

MEL_GROUPS = 4
"""Groups of neighbouring mel bands that are computed together."""

PREEMPHASIS = 0.97
"""Kaldi's default, `--preemphasis-coefficient`."""

PCM_SCALE = 32768.0
"""Kaldi takes samples as 16-bit integers, we as floats in [-1, 1]."""

CEPSTRAL_LIFTER = 22.0
"""Kaldi's default, `--cepstral-lifter`."""

DELTA_WINDOW = 2
"""Kaldi's default in add-deltas: frames on each side."""

FLOAT_EPSILON = torch.finfo(torch.float32).eps
"""Kaldi's floor under an energy before its logarithm."""


@dataclass(frozen=True)
class FeatureConfig:
    """Which features are computed, and how."""

    kind: Literal["logmel", "fbank", "mfcc"] = "logmel"
    """logmel: HiFi-GAN's log magnitude mel; fbank and mfcc: Kaldi's."""
    rate_hz: int = 16000
    """Sampling rate of the audio in Hz; audio of another rate is resampled to it."""
    hop_samples: int = 160
    """From one frame to the next, in samples."""
    win_samples: int = 400
    """Length of the window, in samples."""
    n_fft: int | None = None
    """Points of the Fourier transform; by default the next power of two from win_samples on."""
    n_mels: int | None = None
    """Mel bands; by default 80, for mfcc 23 (Kaldi's default)."""
    low_hz: float | None = None
    """Lower edge of the first mel band in Hz; by default 0 for logmel, 20 for fbank and mfcc (Kaldi's default)."""
    high_hz: float | None = None
    """Upper edge of the last mel band in Hz; by default half of rate_hz."""
    floor: float = 1e-5
    """logmel: mel magnitudes below it are raised to it before the logarithm."""
    n_ceps: int = 13
    """mfcc: number of cepstral coefficients, the zeroth included."""
    energy: bool = False
    """mfcc: the log energy of the frame instead of the zeroth coefficient (Kaldi's --use-energy)."""
    deltas: int = 0
    """fbank and mfcc: order of the differences appended (Kaldi's add-deltas); 2 triples the dimension, 13 to 39."""
    snip_edges: bool = True
    """fbank and mfcc: only windows that lie within the signal; otherwise T / hop frames, with mirrored edges."""
    dither: float = 0.0
    """fbank and mfcc: standard deviation of the noise added, in units of 16-bit samples (1.0 in Kaldi); drawn anew
    but equally for equal samples."""

    def __post_init__(self):
        defaults = {"n_fft": 1 << max(0, self.win_samples - 1).bit_length(),
                    "n_mels": 23 if self.kind == "mfcc" else 80,
                    "low_hz": 0.0 if self.kind == "logmel" else 20.0,
                    "high_hz": self.rate_hz / 2}
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if min(self.rate_hz, self.hop_samples, self.win_samples, self.n_mels, self.n_ceps) < 1:
            raise ValueError("rate_hz, hop_samples, win_samples, n_mels and n_ceps must be at least 1")
        if self.n_fft < self.win_samples:
            raise ValueError(f"n_fft {self.n_fft} is shorter than win_samples {self.win_samples}")
        if self.kind == "logmel" and self.n_fft < self.hop_samples:
            raise ValueError(f"n_fft {self.n_fft} is shorter than hop_samples {self.hop_samples}")
        if not 0 <= self.low_hz < self.high_hz <= self.rate_hz / 2:
            raise ValueError(f"mel bands from {self.low_hz} to {self.high_hz} Hz do not lie within 0 and half of "
                             f"rate_hz {self.rate_hz}")
        if self.kind == "mfcc" and self.n_ceps > self.n_mels:
            raise ValueError(f"n_ceps {self.n_ceps} is more than n_mels {self.n_mels}")
        if self.kind == "logmel" and (self.deltas or self.dither or self.energy or not self.snip_edges):
            raise ValueError("deltas, dither, energy and snip_edges are for fbank and mfcc")
        if self.floor <= 0 or self.deltas < 0 or self.dither < 0:
            raise ValueError("floor must be above 0, deltas and dither at least 0")
        bands = slaney_mel if self.kind == "logmel" else kaldi_mel
        empty = np.flatnonzero(bands(self.n_fft, self.n_mels, self.rate_hz, self.low_hz, self.high_hz).max(0) == 0)
        if len(empty):
            raise ValueError(f"{len(empty)} of n_mels {self.n_mels} bands lie between the frequencies of n_fft "
                             f"{self.n_fft} and would be constant: take fewer bands or a longer n_fft")

    @property
    def hop_sec(self) -> float:
        """From one frame to the next, in seconds."""
        return self.hop_samples / self.rate_hz

    @property
    def dim(self) -> int:
        """Dimension D of a frame."""
        return (self.n_ceps if self.kind == "mfcc" else self.n_mels) * (1 + self.deltas)

    def num_frames(self, samples: int) -> int:
        """Number of frames N of an utterance of this many samples (at rate_hz)."""
        if self.kind == "logmel":
            return samples // self.hop_samples
        if self.snip_edges:
            return max(0, 1 + (samples - self.win_samples) // self.hop_samples)
        return (samples + self.hop_samples // 2) // self.hop_samples


def build_features(config: FeatureConfig) -> Callable[[np.ndarray], np.ndarray]:
    """The function from samples, float32 [T] in [-1, 1] at `config.rate_hz`, to features, float32 [N, D].

    N = `config.num_frames(T)`, which is 0 for a signal shorter than one window (logmel: one hop).
    """
    compute = _logmel_of if config.kind == "logmel" else _kaldi_of

    def features(samples: np.ndarray) -> np.ndarray:
        if samples.ndim != 1:
            raise ValueError(f"samples of shape {samples.shape} instead of [T]")
        if config.num_frames(len(samples)) == 0:
            return np.zeros((0, config.dim), np.float32)
        with torch.inference_mode():
            return compute(np.ascontiguousarray(samples, dtype=np.float32), config)

    return features


def log_mel(audio: torch.Tensor, config: FeatureConfig) -> torch.Tensor:
    """Log-mel of a batch of signals of equal length, [..., T] -> [..., T // hop, D]; gradients pass.

    The convention of HiFi-GAN (https://arxiv.org/abs/2010.05646, released code): the signal is mirrored by
    (n_fft - hop) / 2 at both ends, periodic Hann window, magnitude sqrt(re^2 + im^2 + 1e-9), Slaney's mel scale with
    bands of equal area, natural logarithm clamped at `floor`. T must exceed (n_fft - hop) / 2. Computed in float32 (or
    float64, as `audio` is) under autocast too.
    """
    left, right = _logmel_padding(config)
    shape = audio.shape
    with torch.autocast(audio.device.type, enabled=False):
        audio = audio if audio.dtype == torch.float64 else audio.float()
        padded = torch.nn.functional.pad(audio.reshape(1, -1, shape[-1]), (left, right), mode="reflect")
        return _log_mel_frames(padded.reshape(*shape[:-1], padded.shape[-1]), config)


def _logmel_padding(config: FeatureConfig) -> tuple[int, int]:
    both = config.n_fft - config.hop_samples
    return both // 2, both - both // 2


def _logmel_of(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    # numpy mirrors a signal that is shorter than the padding over and over, torch refuses.
    padded = torch.from_numpy(np.pad(samples, _logmel_padding(config), mode="reflect"))
    count, hop = config.num_frames(len(samples)), config.hop_samples
    output = torch.empty(count, config.dim)
    for start in range(0, count, BLOCK_FRAMES):
        stop = min(count, start + BLOCK_FRAMES)
        output[start:stop] = _log_mel_frames(padded[start * hop:(stop - 1) * hop + config.n_fft], config)
    return output.numpy()


def _log_mel_frames(padded: torch.Tensor, config: FeatureConfig) -> torch.Tensor:
    window, mel = _logmel_constants(config, padded.device, padded.dtype)
    frames = padded.unfold(-1, config.n_fft, config.hop_samples)
    magnitude = torch.sqrt(_power(frames * window) + 1e-9)
    return torch.log(_mel_bands(magnitude, mel).clamp(min=config.floor))


def _power(frames: torch.Tensor) -> torch.Tensor:
    """Power spectrum, [..., n_fft] -> [..., n_fft / 2 + 1]; squares and a sum are three times as fast as abs()."""
    squares = torch.view_as_real(torch.fft.rfft(frames)).square()
    return squares[..., 0] + squares[..., 1]


def _mel_bands(spectrum: torch.Tensor, groups: list[tuple[slice, torch.Tensor]]) -> torch.Tensor:
    """[..., bins] -> [..., D], one group of neighbouring bands after the other."""
    return torch.cat([spectrum[..., bins] @ weights for bins, weights in groups], -1)


def _grouped(mel: np.ndarray, device: torch.device, dtype: torch.dtype) -> list[tuple[slice, torch.Tensor]]:
    """The bands [bins, D] in `MEL_GROUPS` groups, each with the bins that it needs: most weights are zero, and leaving
    them out makes features up to twice as fast."""
    groups = []
    for columns in np.array_split(np.arange(mel.shape[1]), min(MEL_GROUPS, mel.shape[1])):
        used = np.flatnonzero(mel[:, columns].any(1))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        groups.append((bins, torch.from_numpy(mel[bins, columns].copy()).to(device, dtype)))
    return groups


@functools.lru_cache(maxsize=16)
def _logmel_constants(config: FeatureConfig, device: torch.device, dtype: torch.dtype):
    # Cached across calls, so it must not be an inference tensor: those cannot take part in a later backward pass.
    with torch.inference_mode(False):
        window = torch.zeros(config.n_fft, dtype=torch.float64)
        skip = (config.n_fft - config.win_samples) // 2
        window[skip:skip + config.win_samples] = torch.hann_window(config.win_samples, dtype=torch.float64)
        mel = slaney_mel(config.n_fft, config.n_mels, config.rate_hz, config.low_hz, config.high_hz)
        return window.to(device, dtype), _grouped(mel, device, dtype)


def slaney_mel(n_fft: int, n_mels: int, rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangular mel bands of equal area, float64 [n_fft / 2 + 1, n_mels], on the scale of Slaney's Auditory Toolbox
    (1998): linear up to 1000 Hz (15 mel), then a factor of 6.4 every 27 mel. The default of librosa.
    """
    log_step = math.log(6.4) / 27.0

    def to_mel(hz: float) -> float:
        return hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) / log_step

    mels = np.linspace(to_mel(low_hz), to_mel(high_hz), n_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(log_step * (mels - 15)))
    bins = np.fft.rfftfreq(n_fft, 1 / rate_hz)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])


def _kaldi_of(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Kaldi's feature-window.cc, feature-fbank.cc and feature-mfcc.cc with their defaults: 16-bit scale, mean of the
    frame removed, pre-emphasis within the frame, povey window, power spectrum, natural logarithm.
    """
    window, mel, dct = _kaldi_constants(config)
    count, hop, win = config.num_frames(len(samples)), config.hop_samples, config.win_samples
    signal = samples * np.float32(PCM_SCALE)
    if config.dither:
        noise = np.random.default_rng(zlib.crc32(samples.tobytes())).standard_normal(len(samples), dtype=np.float32)
        signal += np.float32(config.dither) * noise
    if not config.snip_edges:
        left = win // 2 - hop // 2
        right = max(0, (count - 1) * hop + win - left - len(signal))
        signal = np.pad(signal[max(0, -left):], (max(0, left), right), mode="symmetric")
    signal = torch.from_numpy(signal)
    # Pre-emphasis of the whole signal serves all frames: the first sample of a frame, where Kaldi repeats the sample
    # instead of taking the one before, has the weight zero in the povey window. The mean m of a frame turns
    # into (1 - 0.97) m.
    emphasised = signal.clone()
    emphasised[1:] -= PREEMPHASIS * signal[:-1]
    output = torch.empty(count, config.n_ceps if config.kind == "mfcc" else config.n_mels)
    for start in range(0, count, BLOCK_FRAMES):
        stop = min(count, start + BLOCK_FRAMES)
        part = slice(start * hop, (stop - 1) * hop + win)
        raw = signal[part].unfold(0, win, hop)
        mean = raw.mean(1, keepdim=True)
        frames = emphasised[part].unfold(0, win, hop) - (1 - PREEMPHASIS) * mean
        power = _power(torch.nn.functional.pad(frames * window, (0, config.n_fft - win)))
        block = torch.log(_mel_bands(power, mel).clamp(min=FLOAT_EPSILON))
        if config.kind == "mfcc":
            block = block @ dct
            if config.energy:
                block[:, 0] = torch.log((raw - mean).square().sum(1).clamp(min=FLOAT_EPSILON))
        output[start:stop] = block
    return add_deltas(output.numpy(), config.deltas)


@functools.lru_cache(maxsize=16)
def _kaldi_constants(config: FeatureConfig):
    win, count = config.win_samples, config.n_mels
    window = (0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(win, dtype=torch.float64) / max(1, win - 1))) ** 0.85
    mel = kaldi_mel(config.n_fft, count, config.rate_hz, config.low_hz, config.high_hz)
    quefrency = torch.arange(config.n_ceps, dtype=torch.float64)
    band = torch.arange(count, dtype=torch.float64)[:, None]
    dct = math.sqrt(2 / count) * torch.cos(math.pi / count * (band + 0.5) * quefrency)
    dct[:, 0] = math.sqrt(1 / count)
    dct = dct * (1 + CEPSTRAL_LIFTER / 2 * torch.sin(math.pi * quefrency / CEPSTRAL_LIFTER))
    return window.float(), _grouped(mel, torch.device("cpu"), torch.float32), dct.float()


def kaldi_mel(n_fft: int, n_mels: int, rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Kaldi's mel bands (mel-computations.cc), float64 [n_fft / 2 + 1, n_mels]: triangles on the scale
    1127 ln(1 + f / 700), of height one, without the Nyquist frequency."""
    def to_mel(hz):
        return 1127.0 * np.log1p(hz / 700.0)

    edges = np.linspace(to_mel(low_hz), to_mel(high_hz), n_mels + 2)
    bins = to_mel(np.arange(n_fft // 2 + 1) * rate_hz / n_fft)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[n_fft // 2:] = 0
    return weights


def add_deltas(features: np.ndarray, order: int) -> np.ndarray:
    """[N, D] -> [N, D * (1 + order)], the differences of each order appended, as Kaldi's add-deltas does it.

    The filter of order k is the regression over 2 frames on each side applied k times; beyond the ends the first and
    the last frame are repeated (the frames themselves for every order, so the edges of the second order differ from
    those of twice-computed differences).
    """
    if order == 0 or len(features) == 0:
        return np.zeros((0, features.shape[1] * (1 + order)), np.float32) if order else features
    steps = np.arange(-DELTA_WINDOW, DELTA_WINDOW + 1, dtype=np.float64)
    slope = steps / (steps ** 2).sum()
    parts, filter_ = [features], np.ones(1)
    for _ in range(order):
        filter_ = np.convolve(filter_, slope)
        reach = len(filter_) // 2
        padded = np.pad(features, ((reach, reach), (0, 0)), mode="edge").astype(np.float64)
        total = sum(weight * padded[i:i + len(features)] for i, weight in enumerate(filter_))
        parts.append(total.astype(np.float32))
    return np.concatenate(parts, axis=1)
