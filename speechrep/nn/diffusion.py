"""Denoising diffusion (Ho et al., arXiv 2006.11239) over short sequences, sampled by DDIM (Song et al., arXiv 2010.02502)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.nn.tdnn import splice


class NoiseSchedule(nn.Module):
    """How much of the signal is left after each of `steps` steps; betas rise linearly."""

    def __init__(self, steps: int, first_beta: float = 1e-4, last_beta: float = 0.06):
        super().__init__()
        self.steps = steps
        self.register_buffer("kept", torch.cumprod(1 - torch.linspace(first_beta, last_beta, steps), 0))

    def noisy(self, clean: torch.Tensor, noise: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """The clean signal [B, ...] after `step` [B] steps of the given noise [B, ...]."""
        kept = self.kept[step].view(-1, *[1] * (clean.ndim - 1))
        return kept.sqrt() * clean + (1 - kept).sqrt() * noise

    def sample(self, denoise, start: torch.Tensor, sample_steps: int) -> torch.Tensor:
        """DDIM without fresh noise, from `start` [B, ...]. denoise(x, step [B]) predicts the noise in x."""
        steps = torch.linspace(self.steps - 1, 0, min(sample_steps, self.steps)).round().long().unique().flip(0)
        x = start
        for i, step in enumerate(steps):
            kept = self.kept[step]
            later = self.kept[steps[i + 1]] if i + 1 < len(steps) else torch.ones_like(kept)
            noise = denoise(x, step.to(x.device).expand(len(x)))
            # Far out of range an early wrong guess would be amplified by 1 / sqrt(kept).
            clean = ((x - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-6, 6)
            x = later.sqrt() * clean + (1 - later).sqrt() * noise
        return x


class Denoiser(nn.Module):
    """A gated residual network over tokens (the shape of DiffWave and DiffSinger): predicts the noise in one channel."""

    def __init__(self, condition_dim: int, dim: int, layers: int, dilations: tuple[int, ...] = (1, 2, 4)):
        super().__init__()
        self.dim = dim
        self.dilations = [dilations[i % len(dilations)] for i in range(layers)]
        self.enter = nn.Linear(1, dim)
        self.time = nn.Sequential(nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))
        self.condition = nn.ModuleList(nn.Linear(condition_dim, 2 * dim) for _ in range(layers))
        self.mix = nn.ModuleList(nn.Linear(3 * dim, 2 * dim) for _ in range(layers))
        self.split = nn.ModuleList(nn.Linear(dim, 2 * dim) for _ in range(layers))
        self.out = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, x: torch.Tensor, step: torch.Tensor, condition: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
        """x [B, U], step [B], condition [B, U, D], pad [B, U] True behind the end -> predicted noise [B, U]."""
        rates = torch.exp(-math.log(10_000.0) * torch.arange(self.dim // 2, device=x.device) / (self.dim // 2 - 1))
        angles = step[:, None].float() * rates
        time = self.time(torch.cat([angles.sin(), angles.cos()], 1))[:, None]
        y = F.relu(self.enter(x[..., None]))
        skips = 0.0
        for dilation, condition_layer, mix, split in zip(self.dilations, self.condition, self.mix, self.split):
            z = (y + time).masked_fill(pad[..., None], 0)
            filtered, gate = (mix(splice(z, 1, dilation)) + condition_layer(condition)).chunk(2, -1)
            residual, skip = split(filtered.tanh() * gate.sigmoid()).chunk(2, -1)
            y = (y + residual) / math.sqrt(2)
            skips = skips + skip
        return self.out(skips / math.sqrt(len(self.mix)))[..., 0]
