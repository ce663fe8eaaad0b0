"""How long each phone lasts, given the phones and a voice: the duration diffusion model of CTAP's family
(Diff-LM-Speech, arXiv 2307.15484), and the plain regression of FastSpeech 2 (arXiv 2006.04558) as its baseline.

A regression of log durations answers with their mean, which flattens the rhythm; diffusion draws from their
distribution. Network, steps and schedule are not published: the denoiser is a gated residual network over tokens, 100
steps with betas to 0.06 and an L1 loss, as DiffSinger's public code has them.

Loss:
  duration   over phones, the L1 between the noise and its prediction (diffusion), or the squared error of the
             normalised log duration (regression)
Minimal supervision: only the utterances that the batch calls labelled enter it, since phones and their times are labels.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.diffusion import Denoiser, NoiseSchedule
from speechrep.nn.encoder import Encoder
from speechrep.nn.masking import pad_mask
from speechrep.nn.prompt_encoder import PromptEncoder, window

# A typical phone and the spread of log durations: they bring the target near zero mean and unit variance.
TYPICAL_SEC, LOG_SPREAD = 0.07, 0.6


@dataclass(frozen=True)
class Config:
    """Sizes of the duration model."""

    kind: Literal["diffusion", "regression"] = "diffusion"
    """Draw durations from their distribution, or predict their mean."""
    encoder: Literal["transformer", "tdnn"] = "tdnn"
    """Blocks of the phoneme encoder."""
    dim: int = 192
    """Width."""
    heads: int = 4
    """Attention heads of a transformer block."""
    layers: int = 4
    """Blocks of the phoneme encoder."""
    denoiser_layers: int = 8
    """Gated layers of the denoiser."""
    steps: int = 100
    """Diffusion steps in training."""
    sample_steps: int = 25
    """DDIM steps when drawing."""
    sample_noise: float = 1.0
    """Deviation of the noise that drawing starts from; below 1, unusual durations are drawn more rarely than they occur."""
    prompt_dim: int = 64
    """Dimension of the voice vector."""
    prompt_frames: int = 300
    """Window of the prompt in feature frames."""
    dropout: float = 0.1
    """Dropout of the phoneme encoder."""


class Method(BaseMethod):
    """Phones and a prompt -> durations."""

    Config = Config
    needs = ("feats", "phones", "prompt")
    losses = {"main": ("duration",)}
    labels_only = True

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        self.register_buffer("mean", torch.tensor(inventory.mean))
        self.register_buffer("std", torch.tensor(inventory.std))
        hop_sec = inventory.features["hop_samples"] / inventory.features["rate_hz"]
        self.centre = math.log1p(TYPICAL_SEC / hop_sec)
        self.embedding = nn.Embedding(len(inventory.phones), c.dim)
        self.encoder = Encoder(c.encoder, c.layers, c.dim, c.heads, c.dropout)
        self.prompt_encoder = PromptEncoder(len(inventory.mean), c.prompt_dim)
        self.voice_in = nn.Linear(c.prompt_dim, c.dim)
        if c.kind == "diffusion":
            self.schedule = NoiseSchedule(c.steps)
            self.denoiser = Denoiser(c.dim, c.dim, c.denoiser_layers)
        else:
            self.out = nn.Linear(c.dim, 1)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the prompt windows, and each utterance's diffusion step and noise."""
        size, device = batch["phones"].shape[1], batch["phones"].device
        starts, steps, noises = [], [], []
        for seed, length in zip(batch["seeds"].tolist(), batch["phones_lengths"].tolist()):
            draw = torch.Generator().manual_seed(seed)
            starts.append(torch.rand((), generator=draw))
            steps.append(torch.randint(self.config.steps, (), generator=draw))
            noises.append(nn.functional.pad(torch.randn(length, generator=draw), (0, size - length)))
        frames = window(batch["prompt"], batch["prompt_lengths"], self.config.prompt_frames,
                        torch.stack(starts).to(device))
        return batch | {"prompt_window": frames, "diffusion_step": torch.stack(steps).to(device),
                        "noise": torch.stack(noises).to(device)}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"duration": int(batch["phones_lengths"][batch["labelled"]].sum())}

    def condition(self, phones: torch.Tensor, lengths: torch.Tensor, prompt_window: torch.Tensor) -> torch.Tensor:
        """phones [B, U], prompt_window [B, M, D] -> conditions [B, U, D], zero in padding."""
        pad = pad_mask(lengths, phones.shape[1])
        x = self.encoder(self.embedding(phones).masked_fill(pad[..., None], 0), pad)[-1]
        voice = self.prompt_encoder((prompt_window - self.mean) / self.std)[0]
        return (x + self.voice_in(voice)[:, None]).masked_fill(pad[..., None], 0)

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """phones and durations [B, U], prompt_window [B, M, D] -> the sum of the loss over labelled
        phones."""
        pad = pad_mask(batch["phones_lengths"], batch["phones"].shape[1])
        condition = self.condition(batch["phones"], batch["phones_lengths"], batch["prompt_window"])
        target = (batch["durations"].float().log1p() - self.centre) / LOG_SPREAD
        if self.config.kind == "diffusion":
            noisy = self.schedule.noisy(target, batch["noise"], batch["diffusion_step"])
            predicted = self.denoiser(noisy, batch["diffusion_step"], condition, pad)
            error = (predicted.float() - batch["noise"]).abs()
        else:
            error = (self.out(condition)[..., 0].float() - target).square()
        return {"duration": error.masked_fill(pad | ~batch["labelled"][:, None], 0).sum()}

    @torch.no_grad()
    def durations(self, phones: torch.Tensor, lengths: torch.Tensor, prompt: torch.Tensor,
                  prompt_lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """phones [B, U] with SIL as id 0, prompt [B, M, D] -> durations in feature frames [B, U]; a phone lasts at
        least one frame, silence may vanish. `generator` draws the noise that diffusion starts from."""
        pad = pad_mask(lengths, phones.shape[1])
        condition = self.condition(phones, lengths, window(prompt, prompt_lengths, self.config.prompt_frames))
        if self.config.kind == "diffusion":
            start = self.config.sample_noise * torch.randn(phones.shape, generator=generator).to(phones.device)
            z = self.schedule.sample(lambda x, step: self.denoiser(x, step, condition, pad), start,
                                     self.config.sample_steps)
        else:
            z = self.out(condition)[..., 0]
        frames = ((z * LOG_SPREAD + self.centre).exp() - 1).round().long()
        return torch.maximum(frames, (phones != 0).long()).masked_fill(pad, 0)
