"""Short-time Fourier transform without centring, its inverse by overlap-add, and the head that predicts its input.

Frames are aligned as in the log-mel features: a signal of N * hop samples is padded by (n_fft - hop) / 2 on both sides
and has exactly N frames. `torch.istft` refuses that alignment, since the Hann window is zero at the outermost sample;
here those samples are cut off together with the padding, so the division by the window envelope is safe.
"""

import torch
import torch.nn.functional as F
from torch import nn


def hann(n_fft: int, win_samples: int | None = None) -> torch.Tensor:
    """Periodic Hann window of `win_samples` in the middle of `n_fft` zeros [n_fft]."""
    win_samples = n_fft if win_samples is None else win_samples
    left = (n_fft - win_samples) // 2
    return F.pad(torch.hann_window(win_samples), (left, n_fft - win_samples - left))


def stft_same(samples: torch.Tensor, window: torch.Tensor, hop_samples: int, pad_mode: str = "reflect") -> torch.Tensor:
    """Complex spectrum [B, n_fft / 2 + 1, N] of samples [B, N * hop], padded by (n_fft - hop) / 2 on both sides."""
    n_fft = window.shape[0]
    left = (n_fft - hop_samples) // 2
    right = n_fft - hop_samples - left
    if pad_mode == "reflect" and samples.shape[-1] <= max(left, right):
        pad_mode = "constant"
    padded = F.pad(samples[:, None], (left, right), mode=pad_mode)[:, 0]
    return torch.stft(padded, n_fft, hop_samples, window=window, center=False, return_complex=True)


def istft_same(spectrum: torch.Tensor, window: torch.Tensor, hop_samples: int,
               frames: torch.Tensor | None = None) -> torch.Tensor:
    """Samples [B, N * hop] from a complex spectrum [B, n_fft / 2 + 1, N]: the inverse of `stft_same`.

    Least-squares inverse of Griffin and Lim (1984), eq. 6: windowed inverse transforms are added and divided by the
    sum of the squared windows. `frames` [B, 1, N], 1.0 where a frame exists and 0.0 in padding, keeps padded frames
    out of both sums; samples beyond the last frame are zero.
    """
    n_fft, n_frames = window.shape[0], spectrum.shape[-1]
    pieces = torch.fft.irfft(spectrum, n_fft, dim=1) * window[None, :, None]
    squares = window.square()[None, :, None].expand(1, n_fft, n_frames)
    if frames is not None:
        pieces, squares = pieces * frames, squares * frames
    left = (n_fft - hop_samples) // 2
    total = (n_frames - 1) * hop_samples + n_fft

    def overlap_add(x: torch.Tensor) -> torch.Tensor:
        y = F.fold(x, (1, total), (1, n_fft), stride=(1, hop_samples))[:, 0, 0]
        return y[:, left:left + n_frames * hop_samples]

    envelope = overlap_add(squares)
    samples = overlap_add(pieces) / envelope.clamp_min(1e-8)
    if frames is not None:
        samples = samples * frames[:, 0].repeat_interleave(hop_samples, dim=1)
    return samples


class ISTFTHead(nn.Module):
    """Log-magnitude and phase of each frame from features, then the inverse transform (Vocos, arXiv 2306.00814, 3.3).

    The phase is predicted as any real number p and wrapped by (cos p, sin p). Magnitudes are clipped at `max_magnitude`
    (1e2 in the released models), which only guards the first steps of training.
    `centred` says how the frames lie: False as in `istft_same`, True as in `torch.stft(center=True)` with N * hop - hop
    samples out of N frames.
    """

    def __init__(self, dim: int, n_fft: int, hop_samples: int, centred: bool = False, max_magnitude: float = 1e2):
        super().__init__()
        self.out = nn.Linear(dim, n_fft + 2)
        nn.init.trunc_normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)
        self.hop_samples, self.centred, self.max_magnitude = hop_samples, centred, max_magnitude
        self.register_buffer("window", hann(n_fft), persistent=False)

    def spectrum(self, x: torch.Tensor, log_magnitude: torch.Tensor | None = None) -> torch.Tensor:
        """Complex spectrum [B, n_fft / 2 + 1, N] from features [B, N, D]; `log_magnitude` [B, N, n_fft / 2 + 1], a
        first guess, is added to the predicted log-magnitude."""
        log_mag, phase = self.out(x).float().chunk(2, dim=-1)
        if log_magnitude is not None:
            log_mag = log_mag + log_magnitude
        magnitude = torch.exp(log_mag).clamp(max=self.max_magnitude)
        return torch.polar(magnitude, phase).transpose(1, 2)

    def forward(self, x: torch.Tensor, frames: torch.Tensor | None = None,
                log_magnitude: torch.Tensor | None = None) -> torch.Tensor:
        """Samples [B, T] from features [B, N, D]; T = N * hop, or (N - 1) * hop if `centred`."""
        spectrum = self.spectrum(x, log_magnitude)
        if self.centred:
            return torch.istft(spectrum, self.window.shape[0], self.hop_samples, window=self.window, center=True)
        return istft_same(spectrum, self.window, self.hop_samples, frames)
