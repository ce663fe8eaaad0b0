"""Pitch, voicing, energy and zero crossings of a waveform, frame by frame, as tensors; and its log power spectrum.

Frame n stands for samples n * hop to (n + 1) * hop; windows are centred on it, with zeros beyond the signal.
"""

import math

import torch
import torch.nn.functional as F

from speechrep.nn.masking import pad_mask

SILENCE = 1e-8
"""Mean square below which a frame has no pitch: 80 dB below full scale."""


def windows(audio: torch.Tensor, size: int, hop_samples: int) -> torch.Tensor:
    """audio [B, N * hop] -> [B, N, size]."""
    both = size - hop_samples
    return F.pad(audio, (both // 2, both - both // 2)).unfold(1, size, hop_samples)


def log_power(audio: torch.Tensor, n_fft: int, hop_samples: int) -> torch.Tensor:
    """Natural logarithm of the power spectrum of Hann windows: audio [B, N * hop] -> [B, N, n_fft / 2 + 1]."""
    frames = windows(audio, n_fft, hop_samples) * torch.hann_window(n_fft, device=audio.device)
    return (torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1) + 1e-6).log()


def prosody(audio: torch.Tensor, lengths: torch.Tensor, rate_hz: int, hop_samples: int, low_hz: float = 60.0,
            high_hz: float = 400.0, voiced_from: float = 0.5) -> torch.Tensor:
    """audio [B, N * hop], zero from `lengths` [B] frames on -> [B, N, 4]: the logarithm of the fundamental frequency
    in Hz, drawn straight through unvoiced frames; voicing, 0 to 1; the logarithm of the mean square; zero crossings as
    a share of the samples. Zeros in padding.

    The frequency is the first peak of the normalised autocorrelation that comes near the highest one; voicing is its
    height, and a frame below `voiced_from` counts as unvoiced. An utterance without a voiced frame is given the
    geometric mean of the bounds.
    """
    pad = pad_mask(lengths, audio.shape[1] // hop_samples)
    frames = windows(audio, 2 * round(1.25 * rate_hz / low_hz), hop_samples)
    energy = frames.square().mean(-1)
    lag, height = _period(frames, math.floor(rate_hz / high_hz), math.ceil(rate_hz / low_hz))
    height = torch.where(energy > SILENCE, height, 0.0)
    log_hz = _bridged((rate_hz / lag).log(), (height >= voiced_from) & ~pad, math.log(low_hz * high_hz) / 2)
    crossings = (frames[..., 1:].sign() * frames[..., :-1].sign() < 0).float().mean(-1)
    found = torch.stack([log_hz, height, (energy + SILENCE).log(), crossings], -1)
    return found.masked_fill(pad[..., None], 0)


def _period(frames: torch.Tensor, shortest: int, longest: int, near: float = 0.9) -> tuple[torch.Tensor, torch.Tensor]:
    """The period of each window in samples, to a fraction of one, and the height of its peak in [0, 1]: [B, N, W] ->
    two of [B, N]."""
    size = frames.shape[-1]
    x = frames - frames.mean(-1, keepdim=True)
    spectrum = torch.fft.rfft(x, 1 << (size + longest).bit_length())
    product = torch.fft.irfft(torch.view_as_real(spectrum).square().sum(-1))
    lags = torch.arange(shortest - 1, longest + 2, device=x.device)
    power = F.pad(x.square().cumsum(-1), (1, 0))
    # Energies of the two parts that a lag lays over each other.
    both = power[..., size - lags] * (power[..., -1:] - power[..., lags])
    values = product[..., lags] * (both + 1e-20).rsqrt()
    left, centre, right = values[..., :-2], values[..., 1:-1], values[..., 2:]
    peak = torch.where((centre >= left) & (centre >= right), centre, 0.0).clamp(min=0)
    # A period's multiples are as high, so the first that comes near the highest is taken.
    first = (peak >= near * peak.amax(-1, keepdim=True)).float().argmax(-1, keepdim=True)
    a, b, c = (side.gather(-1, first)[..., 0] for side in (left, centre, right))
    bend = a - 2 * b + c
    shift = torch.where(bend < 0, (a - c) / (2 * bend.clamp(max=-1e-9)), 0.0).clamp(-0.5, 0.5)
    return first[..., 0] + shortest + shift, peak.gather(-1, first)[..., 0].clamp(max=1)


def _bridged(values: torch.Tensor, known: torch.Tensor, otherwise: float) -> torch.Tensor:
    """values [B, N] where `known`, elsewhere on the straight line between the neighbours that are, at the ends the
    nearest."""
    size = values.shape[1]
    place = torch.arange(size, device=values.device).expand_as(values)
    before = torch.where(known, place, -1).cummax(1).values
    after = torch.where(known, place, size).flip(1).cummin(1).values.flip(1)
    left, right = torch.where(before < 0, after, before), torch.where(after == size, before, after)
    share = (place - left) / (right - left).clamp(min=1)
    at_left, at_right = (values.gather(1, side.clamp(0, size - 1)) for side in (left, right))
    return torch.where(known.any(1, keepdim=True), at_left + share * (at_right - at_left), otherwise)
