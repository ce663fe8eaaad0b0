"""Distances between the spectra of two waveforms, one number an utterance, padding left out."""

import torch
import torch.nn.functional as F
from torch import nn


def magnitude(samples: torch.Tensor, window: torch.Tensor, hop_samples: int) -> torch.Tensor:
    """Magnitudes [B, N, n_fft / 2 + 1] of samples [B, T]; frame i is centred on sample i * hop, zeros lie beyond."""
    n_fft = window.shape[0]
    spectrum = torch.stft(samples, n_fft, hop_samples, window=window, center=True, pad_mode="constant",
                          return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt().transpose(1, 2)


def inside(lengths: torch.Tensor, hop_samples: int, n_frames: int) -> torch.Tensor:
    """1.0 for the frames of `magnitude` centred within the utterance or on its end, else 0.0 [B, N, 1]."""
    frames = lengths // hop_samples + 1
    return (torch.arange(n_frames, device=lengths.device) < frames[:, None]).float()[..., None]


class MelLoss(nn.Module):
    """Mean absolute difference of log-mel spectra [B] (HiFi-GAN, arXiv 2010.05646, eq. 5; Vocos 3.4).

    `bands` [n_fft / 2 + 1, D] are the mel bands; mel magnitudes are raised to `floor` before the logarithm.
    """

    def __init__(self, bands: torch.Tensor, hop_samples: int, floor: float = 1e-5):
        super().__init__()
        self.hop_samples, self.floor = hop_samples, floor
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("window", torch.hann_window(2 * (bands.shape[0] - 1)), persistent=False)

    def log_mel(self, samples: torch.Tensor) -> torch.Tensor:
        """[B, T] -> [B, N, D]."""
        return torch.log((magnitude(samples, self.window, self.hop_samples) @ self.bands).clamp_min(self.floor))

    def forward(self, made: torch.Tensor, real: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """made, real [B, T], zero from `lengths` [B] on."""
        difference = (self.log_mel(made) - self.log_mel(real)).abs()
        keep = inside(lengths, self.hop_samples, difference.shape[1])
        return (difference * keep).sum((1, 2)) / (keep.sum((1, 2)) * difference.shape[2])


class SpectralLoss(nn.Module):
    """Multi-resolution spectral loss [B] (Parallel WaveGAN, arXiv 1910.11480, eqs. 3-6), hop a quarter of each window:
    spectral convergence |S - S'| / |S| plus the mean absolute difference of log-magnitudes, averaged over sizes."""

    def __init__(self, n_ffts: tuple[int, ...], floor: float = 1e-4):
        super().__init__()
        self.floor = floor
        self.n_ffts = n_ffts
        for n_fft in n_ffts:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, made: torch.Tensor, real: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """made, real [B, T], zero from `lengths` [B] on."""
        total = made.new_zeros(len(made))
        for n_fft in self.n_ffts:
            window, hop = getattr(self, f"window_{n_fft}"), n_fft // 4
            ours, theirs = magnitude(made, window, hop), magnitude(real, window, hop)
            keep = inside(lengths, hop, ours.shape[1])
            ours, theirs = ours * keep, theirs * keep
            apart, size = (x.square().sum((1, 2)).add(1e-9).sqrt() for x in (ours - theirs, theirs))
            convergence = apart / size
            logs = F.l1_loss(ours.clamp_min(self.floor).log(), theirs.clamp_min(self.floor).log(), reduction="none")
            total = total + convergence + logs.sum((1, 2)) / (keep.sum((1, 2)) * ours.shape[2])
        return total / len(self.n_ffts)
