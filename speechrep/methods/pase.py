"""Several generative targets at once, after PASE (Pascual et al., arXiv 1904.03416).

One encoder, and behind it small networks, the workers, each of which reads something else about the same speech from
each of its frames: the samples, the log power spectrum, cepstra, and prosody (pitch, voicing, energy, zero crossings).
No worker is strong enough to do its task alone, so the encoder must hold what all of them need.

Losses, one a worker, named in `workers`:
  wave      L1 distance to the samples of the frame, over samples
  power     squared distance to the log power spectrum, over bins
  mfcc      squared distance to the cepstra, over coefficients
  prosody   squared distance to log F0 (drawn through unvoiced stretches), voicing, log energy, zero-crossing rate
  local     binary cross-entropy of telling two frames of one utterance from two of different ones, over pairs
  global    the same of means over segments of a second

Targets are standardised by their statistics over what training has seen. The other utterance of `local` and `global` is
the next one of the micro-batch; alone in it, an utterance has no pairs. Where this file differs from the paper: the
discriminator of the order of segments is left out; every worker is one hidden layer, also that of the samples, which
the paper gives transposed convolutions; the first convolution on samples has free filters instead of sinc ones; norms
are over channels instead of the batch, so that features do not depend on it. `hears: logmel` is the cheaper way in.
Cepstra are those of the dump's log-mel.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.cepstra import cosines
from speechrep.nn.encoder import Encoder
from speechrep.nn.front import MelFront
from speechrep.nn.guards import flat, spread
from speechrep.nn.hearing import Scope, check_scope, need_of
from speechrep.nn.masking import generators_of, pad_mask
from speechrep.nn.moments import RunningMoments
from speechrep.nn.mutual_information import PairJudge, pick_frames, segment_means
from speechrep.nn.prosody import log_power, prosody
from speechrep.nn.reconstruction import cells_inside, stack
from speechrep.nn.standardise import Standardise

REGRESSIONS, JUDGES = ("wave", "power", "mfcc", "prosody"), ("local", "global")
WORKERS = REGRESSIONS + JUDGES


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are PASE's, whose encoder is convolutions alone."""

    hears: Literal["audio", "logmel"] = "audio"
    """What the encoder sees."""
    standardise_by: Scope = "part"
    """Within what log-mel is standardised where the encoder sees it: the training part, each utterance, or each speaker. The
    cepstra of the worker mfcc are those of the same log-mel."""
    channels: tuple[int, ...] = (64, 64, 128, 128, 256, 256, 512, 512)
    """Channels of the convolutions on samples (PASE, as recalled)."""
    kernels: tuple[int, ...] = (251, 20, 11, 11, 11, 11, 11, 11)
    """Their widths (PASE, as recalled)."""
    strides: tuple[int, ...] = (1, 10, 2, 1, 2, 1, 2, 2)
    """Their strides; the product, 160 samples, must be a multiple of the dump's hop (PASE, as recalled)."""
    dim: int = 512
    """Width of the log-mel front; with samples it must be that of the last convolution."""
    stride: int = 2
    """Feature frames per frame of the encoder where it hears log-mel: 1, 2 or 4."""
    kind: Literal["transformer", "tdnn"] = "tdnn"
    """Blocks behind the front."""
    layers: int = 0
    """How many of them; PASE has none."""
    heads: int = 4
    """Attention heads of a transformer block."""
    dropout: float = 0.0
    """Dropout of these blocks."""
    out_dim: int = 100
    """Dimension of the representation (PASE)."""
    workers: tuple[str, ...] = WORKERS
    """Some of wave, power, mfcc, prosody, local and global."""
    worker_dim: int = 256
    """Width of a worker's hidden layer (PASE)."""
    cepstra: int = 20
    """Coefficients of the worker mfcc (PASE, as recalled)."""
    pairs: int = 8
    """Pairs that each utterance gives to local, and to global, in a step (assumption)."""
    guard_from: int = 300
    """Optimiser step from which predictions that hardly vary stop the run (assumption)."""

    def __post_init__(self):
        check_scope(self.hears == "logmel", self.standardise_by)
        unknown = set(self.workers) - set(WORKERS)
        if unknown or not self.workers:
            raise ValueError(f"workers {', '.join(self.workers) or 'none'}, wanted some of {', '.join(WORKERS)}")
        if not len(self.channels) == len(self.kernels) == len(self.strides):
            raise ValueError("channels, kernels and strides must be as many")
        if any(kernel < stride for kernel, stride in zip(self.kernels, self.strides)):
            raise ValueError("no kernel may be narrower than its stride")
        if self.hears == "audio" and self.dim != self.channels[-1]:
            raise ValueError(f"dim {self.dim}, wanted {self.channels[-1]}, the channels of the last convolution")


class SampleFront(nn.Module):
    """Strided convolutions on samples, zero-padded so that N * hop samples give N frames, each with a norm over
    channels and a PReLU."""

    def __init__(self, channels: tuple[int, ...], kernels: tuple[int, ...], strides: tuple[int, ...]):
        super().__init__()
        self.strides, self.hop = strides, math.prod(strides)
        self.convs = nn.ModuleList(nn.Conv1d(a, b, kernel, stride) for a, b, kernel, stride in
                                   zip((1, *channels), channels, kernels, strides))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in channels)
        self.slopes = nn.ModuleList(nn.PReLU(width) for width in channels)

    def frame_lengths(self, samples: torch.Tensor) -> torch.Tensor:
        """Frames given for so many samples [B]."""
        return (samples + self.hop - 1) // self.hop

    def forward(self, audio: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """audio [B, T] zero behind `lengths` -> [B, ceil(T / hop), C] zero in padding, lengths [B]."""
        x = F.pad(audio, (0, -audio.shape[1] % self.hop))[:, None]
        frames = self.frame_lengths(lengths)
        lengths = frames * self.hop
        for conv, norm, slope, stride in zip(self.convs, self.norms, self.slopes, self.strides):
            reach = conv.kernel_size[0] - stride
            x = conv(F.pad(x, (reach // 2, reach - reach // 2)))
            x = slope(norm(x.transpose(1, 2)).transpose(1, 2))
            lengths = lengths // stride
            x = x.masked_fill(pad_mask(lengths, x.shape[2])[:, None], 0)
        return x.transpose(1, 2), frames


class Method(BaseMethod):
    """The encoder and its workers."""

    Config = Config
    needs = ("audio", "feats")
    losses = {"main": WORKERS}
    across_batch = frozenset(JUDGES)

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c, mels = config, len(inventory.mean)
        self.hop, self.rate_hz = int(inventory.features["hop_samples"]), int(inventory.features["rate_hz"])
        self.n_fft = 1 << (int(inventory.features["win_samples"]) - 1).bit_length()
        self.standardise = Standardise(inventory.mean, inventory.std)
        if c.hears == "audio":
            self.front = SampleFront(c.channels, c.kernels, c.strides)
            if self.front.hop % self.hop:
                raise SpeechrepError(f"strides whose product is {self.front.hop} samples",
                                     f"a multiple of the dump's hop, {self.hop} samples")
        else:
            self.front = MelFront(mels, c.dim, c.stride)
        self.factor = self.front.hop // self.hop if c.hears == "audio" else c.stride
        self.encoder = Encoder(c.kind, c.layers, c.dim, c.heads, c.dropout)
        self.embed = nn.Linear(c.dim, c.out_dim)
        self.register_buffer("cosines", cosines(mels, c.cepstra), persistent=False)
        self.sizes = {"wave": self.hop, "power": self.n_fft // 2 + 1, "mfcc": self.cosines.shape[1], "prosody": 4}
        self.workers = nn.ModuleDict({name: nn.Sequential(
            nn.Linear(c.out_dim, c.worker_dim), nn.PReLU(), nn.Linear(c.worker_dim, self.sizes[name] * self.factor))
            for name in c.workers if name in REGRESSIONS})
        self.judges = nn.ModuleDict({name: PairJudge(c.out_dim, c.worker_dim) for name in c.workers if name in JUDGES})
        self.segment = max(1, round(self.rate_hz / (self.hop * self.factor)))
        # Where standardisation begins, before any frame was seen: speech recorded at a usual level.
        start = {"wave": (0.0, 0.05), "power": (-3.0, 4.0), "mfcc": (0.0, 2.0),
                 "prosody": ((5.0, 0.5, -8.0, 0.1), (0.4, 0.4, 4.0, 0.1))}
        self.moments = nn.ModuleDict({name: RunningMoments(1 if name == "wave" else self.sizes[name], *start[name])
                                      for name in self.workers})

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        """First what the encoder hears; targets need the other."""
        heard = need_of(config.hears == "logmel", config.standardise_by)
        return heard, "feats" if config.hears == "audio" else "audio"

    @classmethod
    def losses_of(cls, config: Config) -> dict[str, tuple[str, ...]]:
        """One loss a worker."""
        return {"main": tuple(config.workers)}

    @torch.no_grad()
    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The workers' `targets`, each [B, N', factor * D] standardised, and where they count, `cells`; where the
        pairs of local and global lie, `places` [B, 4, P]."""
        lengths, size = batch["feats_lengths"], batch["feats"].shape[1]
        audio = batch["audio"][:, :size * self.hop].float()
        audio = F.pad(audio, (0, size * self.hop - audio.shape[1]))
        make = {"wave": lambda: audio.view(len(audio), size, self.hop),
                "power": lambda: log_power(audio, self.n_fft, self.hop),
                "mfcc": lambda: self.standardise(batch["feats"], lengths) @ self.cosines,
                "prosody": lambda: prosody(audio, lengths, self.rate_hz, self.hop)}
        inside = ~pad_mask(lengths, size)
        targets, cells = {}, {}
        for name in self.workers:
            values, moments = make[name](), self.moments[name]
            if self.training:
                moments.gather(values[inside].reshape(-1, len(moments.total)))
            targets[name] = stack(moments(values).masked_fill(~inside[..., None], 0), self.factor)
            cells[name] = cells_inside(lengths, size, self.sizes[name], self.factor)
        draws = generators_of(batch["seeds"])
        places = torch.stack([torch.rand(4, self.config.pairs, generator=draw) for draw in draws])
        return batch | {"targets": targets, "cells": cells, "places": places.to(audio.device)}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        frames, utts = float(batch["feats_lengths"].sum()), len(batch["utts"])
        pairs = 2.0 * self.config.pairs * utts if utts > 1 else 0.0
        return {name: pairs if name in JUDGES else frames * self.sizes[name] for name in self.config.workers}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """audio [B, T] or feats [B, N, D], targets and cells -> one sum a worker."""
        made, judged = self._work(batch)
        return {name: (_distance(name, x - batch["targets"][name]) * batch["cells"][name]).sum()
                for name, x in made.items()} | {name: loss for name, (loss, _) in judged.items()}

    def _work(self, batch: Batch) -> tuple[dict[str, torch.Tensor], dict[str, tuple[torch.Tensor, int]]]:
        """Each regression's prediction [B, N', factor * D]; each judge's loss and how often it was right."""
        layers, frames = self.layers(batch)
        top, judged = layers[-1], {}
        for i, (name, judge) in enumerate(self.judges.items()):
            anchor, same = (pick_frames(top, frames, place) if name == "local" else
                            segment_means(top, frames, place, self.segment)
                            for place in batch["places"][:, 2 * i:2 * i + 2].unbind(1))
            loss, right = judge(anchor, same, same.roll(1, 0))
            judged[name] = loss * (len(top) > 1), right
        return {name: worker(top).float() for name, worker in self.workers.items()}, judged

    def after_step(self, step: int) -> None:
        """Move the targets' statistics."""
        for moments in self.moments.values():
            moments.update()

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """NAME_of_mean: the loss of a worker that says the mean; how much predictions and targets vary, samples
        apart."""
        counts, found = self.counts(batch), {}
        stds = {"prediction_std": [], "target_std": []}
        predictions, judged = self._work(batch)
        for name, made in predictions.items():
            target, cells = batch["targets"][name], batch["cells"][name]
            found[f"{name}_of_mean"] = (float((_distance(name, target) * cells).sum()), counts[name])
            # Samples are hardly predictable at first, so they say nothing about collapse.
            if name != "wave" or len(self.workers) == 1:
                stds["prediction_std"].append(spread(made, cells))
                stds["target_std"].append(spread(target, cells))
        found |= {f"{name}_accuracy": (float(right) * (counts[name] > 0), counts[name])
                  for name, (_, right) in judged.items()}
        return found | {key: (sum(total for total, _ in pairs), sum(count for _, count in pairs))
                        for key, pairs in stds.items() if pairs}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Predictions that hardly vary."""
        return flat(values) if self.workers and step >= self.config.guard_from else None

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.front.frame_lengths(lengths)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The input and output of every block and, last, the representation that the workers read."""
        if self.config.hears == "audio":
            x, frames = self.front(batch["audio"], batch["audio_lengths"])
        else:
            x, frames = self.front(self.standardise(batch["feats"], batch["feats_lengths"]), batch["feats_lengths"])
        pad = pad_mask(frames, x.shape[1])
        layers = self.encoder(x, pad)
        top = F.layer_norm(self.embed(layers[-1]), (self.config.out_dim,))
        return [layer.masked_fill(pad[..., None], 0) for layer in (*layers, top)], frames


def _distance(name: str, difference: torch.Tensor) -> torch.Tensor:
    return difference.abs() if name == "wave" else difference.square()
