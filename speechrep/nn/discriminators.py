"""Judges of waveforms: multi-period (HiFi-GAN) and multi-resolution (UnivNet, Descript), and their losses.

Both take lengths, and zero whatever lies beyond the end after every layer, so a padded signal is judged as if it stood
alone. Every loss is one number an utterance [B]: the mean over its own outputs, averaged over the judges. The last
convolution has no bias, other than in the papers: while all judgements lie within the hinge's margins, what a bias adds
to the real and to the made cancels exactly.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1
"""Negative slope of the leaky ReLU (HiFi-GAN and Vocos, released code)."""

Map = tuple[torch.Tensor, torch.Tensor]
"""Activations [B, C, N, D], and how many of the N steps each utterance has [B]."""

BANDS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Limits of the frequency bands as shares of the bins (Descript Audio Codec, arXiv 2306.06546, 3.3)."""


class PeriodJudge(nn.Module):
    """One period of the multi-period discriminator (HiFi-GAN, arXiv 2010.05646, 2.3): samples are folded to rows of
    `period`, and convolved along the rows. Channels: 1, 4, 16, 32, 32 times `channels` (32 in the paper)."""

    def __init__(self, period: int, channels: int = 32):
        super().__init__()
        self.period = period
        widths = [1, channels, 4 * channels, 16 * channels, 32 * channels, 32 * channels]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(fan_in, fan_out, (5, 1), (stride, 1), padding=(2, 0)))
            for fan_in, fan_out, stride in zip(widths, widths[1:], (3, 3, 3, 3, 1)))
        self.conv_post = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0), bias=False))

    def forward(self, samples: torch.Tensor, lengths: torch.Tensor) -> list[Map]:
        """The map after each convolution; the last one is the judgement."""
        x = F.pad(samples, (0, -samples.shape[1] % self.period))
        x = x.view(len(x), 1, -1, self.period)
        rows = (lengths + self.period - 1) // self.period
        maps = []
        for conv in self.convs:
            rows = (rows - 1) // conv.stride[0] + 1
            x = _keep(F.leaky_relu(conv(x), SLOPE), rows)
            maps.append((x, rows))
        maps.append((_keep(self.conv_post(x), rows), rows))
        return maps


class ResolutionJudge(nn.Module):
    """One resolution of the multi-resolution discriminator on the complex spectrum, cut into frequency bands
    (Descript Audio Codec, arXiv 2306.06546, 3.3, as Vocos uses it): hop n_fft / 4, level made equal beforehand."""

    def __init__(self, n_fft: int, channels: int = 32):
        super().__init__()
        self.n_fft = n_fft
        bins = n_fft // 2 + 1
        self.edges = [int(share * bins) for share in BANDS]
        self.band_convs = nn.ModuleList(nn.ModuleList(
            weight_norm(nn.Conv2d(2 if i == 0 else channels, channels, (3, 9 if i < 4 else 3),
                                  (1, 2 if 0 < i < 4 else 1), padding=(1, 4 if i < 4 else 1)))
            for i in range(5)) for _ in BANDS[1:])
        self.conv_post = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=1, bias=False))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, samples: torch.Tensor, lengths: torch.Tensor) -> list[Map]:
        """The map after each convolution of each band; the last one is the judgement."""
        inside = (torch.arange(samples.shape[1], device=samples.device) < lengths[:, None]).to(samples.dtype)
        mean = (samples * inside).sum(1, keepdim=True) / lengths[:, None].clamp_min(1)
        x = (samples - mean) * inside
        x = 0.8 * x / (x.abs().amax(1, keepdim=True) + 1e-9)
        hop = self.n_fft // 4
        spectrum = torch.stft(x, self.n_fft, hop, window=self.window, center=True, pad_mode="constant",
                              return_complex=True)
        frames = lengths // hop + 1
        x = _keep(torch.view_as_real(spectrum).permute(0, 3, 2, 1), frames)
        maps, ends = [], []
        for low, high, convs in zip(self.edges, self.edges[1:], self.band_convs):
            band = x[..., low:high]
            for conv in convs:
                band = _keep(F.leaky_relu(conv(band), SLOPE), frames)
                maps.append((band, frames))
            ends.append(band)
        maps.append((_keep(self.conv_post(torch.cat(ends, dim=-1)), frames), frames))
        return maps


class Judges(nn.ModuleList):
    """Several discriminators of one kind; `forward` gives the maps of each."""

    def forward(self, samples: torch.Tensor, lengths: torch.Tensor) -> list[list[Map]]:
        """samples [B, T], zero from `lengths` [B] on."""
        return [judge(samples, lengths) for judge in self]


def judge_loss(real: list[list[Map]], made: list[list[Map]]) -> torch.Tensor:
    """Hinge loss of the discriminators [B]: max(0, 1 - D(real)) + max(0, 1 + D(made)) (arXiv 1705.02894; Vocos 3.4)."""
    total = sum(_mean(F.relu(1 - r[-1][0]), r[-1][1]) + _mean(F.relu(1 + m[-1][0]), m[-1][1])
                for r, m in zip(real, made))
    return total / len(real)


def fool_loss(made: list[list[Map]]) -> torch.Tensor:
    """Hinge loss of the generator [B]: max(0, 1 - D(made)) (SoundStream, arXiv 2107.03312, eq. 4; Vocos 3.4)."""
    return sum(_mean(F.relu(1 - maps[-1][0]), maps[-1][1]) for maps in made) / len(made)


def match_loss(real: list[list[Map]], made: list[list[Map]]) -> torch.Tensor:
    """Feature matching [B]: the mean distance of every map, summed over the maps of a judge (Vocos 3.4)."""
    total = sum(_mean((r - m).abs(), rows) for reals, mades in zip(real, made)
                for (r, rows), (m, _) in zip(reals, mades))
    return total / len(real)


def _keep(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Zero the steps of [B, C, N, D] beyond each utterance's own."""
    inside = torch.arange(x.shape[2], device=x.device) < rows[:, None]
    return x * inside[:, None, :, None].to(x.dtype)


def _mean(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Mean over an utterance's own steps [B], where the others are left out."""
    inside = torch.arange(x.shape[2], device=x.device) < rows[:, None]
    x = x.float() * inside[:, None, :, None]
    return x.sum((1, 2, 3)) / (rows * x.shape[1] * x.shape[3]).clamp_min(1)
