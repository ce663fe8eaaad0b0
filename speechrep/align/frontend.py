"""Spectral features for alignment: short windows, a small hop, normalised within the utterance."""

import functools

import numpy as np
import torch

MELS = 40
CEPSTRA = 13
FLOOR = -10.0
"""Of the normalised log mel energies, in nats of power: 43 dB below the mean of the louder half."""


@functools.lru_cache
def _bank(rate_hz: int, fft: int) -> torch.Tensor:
    """Triangular filters, evenly spaced on the mel scale from 60 Hz to the Nyquist frequency, [fft // 2 + 1, MELS]."""
    def mel(hz):
        return 1127.0 * np.log1p(hz / 700.0)

    edges = 700.0 * np.expm1(np.linspace(mel(60.0), mel(rate_hz / 2), MELS + 2) / 1127.0)
    bins = np.arange(fft // 2 + 1)[:, None] * rate_hz / fft
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.from_numpy(np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32))


@functools.lru_cache
def _cosines() -> torch.Tensor:
    """The first CEPSTRA rows of the orthonormal discrete cosine transform, [MELS, CEPSTRA]."""
    angle = np.pi / MELS * (np.arange(MELS)[:, None] + 0.5) * np.arange(CEPSTRA)
    table = np.cos(angle) * np.sqrt(2.0 / MELS)
    table[:, 0] /= np.sqrt(2.0)
    return torch.from_numpy(table.astype(np.float32))


def log_mel(audio: np.ndarray, rate_hz: int, hop_ms: float, win_ms: float) -> torch.Tensor:
    """Log mel energies [N, MELS] of samples [T]; frame n is centred on (n + 0.5) hops, N = ceil(T / hop)."""
    hop = round(rate_hz * hop_ms / 1000)
    win = round(rate_hz * win_ms / 1000)
    fft = max(512, 1 << (win - 1).bit_length())
    frames = -(-len(audio) // hop)
    before = (win - hop) // 2
    padded = torch.zeros(before + (frames - 1) * hop + win)
    padded[before:before + len(audio)] = torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))[
        :len(padded) - before]
    cut = padded.unfold(0, win, hop)
    spectrum = torch.fft.rfft((cut - cut.mean(1, keepdim=True)) * torch.hann_window(win, periodic=False), fft)
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.log((power @ _bank(rate_hz, fft)).clamp_min(1e-7))


def normalise(mel: torch.Tensor) -> torch.Tensor:
    """`mel` [N, MELS] less its mean over the louder half of the frames, so that silences don't move the mean.

    Clamped from below at FLOOR, since digital silence would otherwise be far from any other.
    """
    energy = mel.mean(dim=1)
    loud = energy >= energy.median()
    return (mel - mel[loud].mean(dim=0)).clamp_min(FLOOR)


def change(mel: torch.Tensor, width: int = 3) -> torch.Tensor:
    """How much the spectrum changes between frames n - 1 and n, [N], in standard deviations of the utterance.

    mel: normalised log mel [N, MELS]. The change is the distance of the means over `width` frames after and before;
    only 60 % of the range of `normalise` is kept, so that a change within a near-silence counts for little.
    """
    frames = len(mel)
    sums = torch.nn.functional.pad(mel.clamp_min(0.6 * FLOOR).cumsum(0), (0, 0, 1, 0))
    here = torch.arange(frames)
    ahead, back = (here + width).clamp_max(frames), (here - width).clamp_min(0)
    after = (sums[ahead] - sums[here]) / (ahead - here)[:, None]
    before = (sums[here] - sums[back]) / (here - back).clamp_min(1)[:, None]
    distance = (after - before).square().mean(1).sqrt()
    distance[0] = 0.0
    spread = distance.std(correction=0).clamp_min(1e-3)
    return ((distance - distance.mean()) / spread).clamp(-1.5, 3.0)


def cepstra(mel: torch.Tensor) -> torch.Tensor:
    """Cepstra with first and second differences over +-20 ms at a 5 ms hop, [N, 3 * CEPSTRA]."""
    static = mel @ _cosines()
    first = _delta(static)
    return torch.cat([static, first, _delta(first)], dim=1)


def _delta(values: torch.Tensor, width: int = 4) -> torch.Tensor:
    padded = torch.nn.functional.pad(values.T[None], (width, width), mode="replicate")[0]
    taps = torch.arange(-width, width + 1, dtype=torch.float32)
    kernel = (taps / taps.square().sum())[None, None]
    return torch.nn.functional.conv1d(padded[:, None], kernel)[:, 0].T
