"""vq-wav2vec: discrete units of speech that foretell those to come (Baevski et al., arXiv 1910.05453).

A front end turns speech into frames z, a codebook of several groups replaces each by codes, and causal convolutions
read the codes' vectors into contexts. From a context, a matrix for each of K steps predicts the codes' vector 1 to K
frames later, which must be told from those of other frames of the utterance. The codes are the units that Discrete BERT
reads: `units(batch)` gives them, and `speechrep units` writes them.

Losses:
  contrast     eq. 1, wav2vec's, summed over steps and frames: -log sigmoid of the true product, - log sigmoid of minus
               each false one, whose factor lambda is their number (`loss: binary`); or the cross-entropy (`infonce`)
  codebook     second term of 3.2's loss, quantizer "kmeans" only: squared distance of codes to frames, by element
  commitment   its third term, quantizer "kmeans" only: the same with gradient to the frames; the paper's weight is 0.25

Quantizer "gumbel": straight-through Gumbel-softmax with two layers to the logits, temperature from 2 to 0.5, and one
codebook for all groups in the released configuration. "kmeans": the nearest code in each group.

Where this file goes its own way. The norms of the convolutions are over the channels of a frame, not over the
utterance, since that would let contexts see the future and padding. Each utterance is whole. A false frame that is the
true one takes no part. Prediction begins with the very next frame. `front: mel` hears log-mel features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.guards import few_codes
from speechrep.nn.hearing import Hearing, Scope, check_scope, need_of
from speechrep.nn.masking import generators_of, pad_mask
from speechrep.nn.negatives import draw_negatives, hits, scores
from speechrep.nn.quantizers import GumbelQuantizer, KMeansQuantizer, code_counts, gumbel_noise, perplexity


@dataclass(frozen=True)
class Config:
    """Sizes and choices of vq-wav2vec; the defaults are those of the released Gumbel configuration."""

    front: Literal["mel", "wave"] = "wave"
    """What it hears: dumped log-mel features through two convolutions, or the waveform through eight."""
    mel_stride: int = 2
    """Feature frames per frame (front "mel"): 1, 2 or 4."""
    standardise_by: Scope = "part"
    """Within what log-mel is standardised (front "mel"): the training part, each utterance, or each speaker."""
    kernels: tuple[int, ...] = (10, 8, 4, 4, 4, 1, 1, 1)
    """Widths of the waveform's convolutions (released configuration)."""
    strides: tuple[int, ...] = (5, 4, 2, 2, 2, 1, 1, 1)
    """Strides of the waveform's convolutions: 160 samples a frame (released configuration)."""
    dim: int = 512
    """Width of frames, codes' vectors and contexts (released configuration)."""
    aggregator: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
    """Widths in frames of the causal convolutions (released configuration)."""
    dropout: float = 0.1
    """Dropout of the causal convolutions (assumption)."""
    quantizer: Literal["gumbel", "kmeans"] = "gumbel"
    """How frames become codes."""
    groups: int = 2
    """Groups of codes (3.3)."""
    codes: int = 320
    """Codes of a group (3.3)."""
    shared: bool = True
    """Whether all groups have the same codebook (released configuration)."""
    logit_std: float = 0.0
    """Standard deviation of the weights that give the logits at the start, 0 for the usual one of a linear map (released
    configuration). Where that makes logits far smaller than the Gumbel noise (1.3), noise picks the codes for a long time."""
    first_tau: float = 2.0
    """Temperature of the Gumbel-softmax at the start (released configuration)."""
    last_tau: float = 0.5
    """What it falls to (released configuration)."""
    tau_decay: float = 0.999995
    """Its factor in each step (released configuration)."""
    loss: Literal["binary", "infonce"] = "binary"
    """Noise-contrastive estimation by binary decisions, as the paper has it, or by cross-entropy."""
    steps: int = 12
    """How many frames ahead are predicted (released configuration)."""
    negatives: int = 10
    """False frames, the same for all steps (released configuration)."""
    least_perplexity: float = 2.0
    """Mean perplexity of the groups below which a run has collapsed (assumption)."""
    guard_from: int = 500
    """Optimiser step from which the guard against collapse stops a run (assumption)."""

    def __post_init__(self):
        check_scope(self.front == "mel", self.standardise_by)
        if self.mel_stride not in (1, 2, 4) or len(self.kernels) != len(self.strides) or self.dim % self.groups:
            raise ValueError("mel_stride must be 1, 2 or 4, kernels and strides equally many, dim a multiple of groups")
        if min(self.steps, self.negatives, self.groups, len(self.aggregator)) < 1 or not 2 <= self.codes < 2 ** 15:
            raise ValueError("at least one step, negative, group and convolution, and 2 to 32767 codes are wanted")


class Aggregator(nn.ModuleList):
    """Causal convolutions of these widths, each with dropout, a norm over channels, ReLU and a residual."""

    def __init__(self, dim: int, widths: tuple[int, ...], dropout: float):
        super().__init__(nn.ModuleDict({"conv": nn.Conv1d(dim, dim, width), "norm": nn.LayerNorm(dim)})
                         for width in widths)
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """x [B, N, D] -> every layer's output [B, N, D]."""
        outputs = []
        for layer in self:
            conv = layer["conv"]
            y = conv(F.pad(x.transpose(1, 2), (conv.kernel_size[0] - 1, 0))).transpose(1, 2)
            # The factor keeps the variance of a sum of two.
            x = (x + F.relu(layer["norm"](F.dropout(y, self.dropout, layer.training)))) * 0.5 ** 0.5
            outputs.append(x)
        return outputs


class Method(BaseMethod):
    """Front end, codebook, causal convolutions, and a matrix for each step."""

    Config = Config
    needs = ("audio",)
    losses = {"main": ("contrast",)}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        self.hearing = Hearing(c.front, c.dim, c.mel_stride, c.kernels, c.strides, inventory.mean, inventory.std,
                               log_compression=c.front == "wave")
        self.quantizer = GumbelQuantizer(c.dim, c.groups, c.codes, c.dim, c.dim, c.shared, c.logit_std) \
            if c.quantizer == "gumbel" else KMeansQuantizer(c.dim, c.groups, c.codes, c.shared)
        self.aggregator = Aggregator(c.dim, c.aggregator, c.dropout)
        self.predict = nn.Linear(c.dim, c.dim * c.steps)
        self.register_buffer("tau", torch.tensor(c.first_tau))

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (need_of(config.front == "mel", config.standardise_by),)

    @classmethod
    def losses_of(cls, config: Config) -> dict[str, tuple[str, ...]]:
        return {"main": ("contrast", "codebook", "commitment")} if config.quantizer == "kmeans" else cls.losses

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the false frames `negatives` [B, N, J] and in training the quantizer's `noise`, and set
        `frames` [B], the lengths."""
        c = self.config
        frames = self.frame_lengths(batch[f"{self.hearing.stream}_lengths"])
        size = int(frames.max())
        noise = gumbel_noise(frames, size, c.groups * c.codes, batch["seeds"] + 1) \
            if c.quantizer == "gumbel" and self.training else None
        return batch | {"frames": frames, "noise": noise,
                        "negatives": draw_negatives(frames, size, c.negatives, generators_of(batch["seeds"]))}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        frames = batch["frames"]
        steps = torch.arange(1, self.config.steps + 1, device=frames.device)
        counts = {"contrast": float((frames[:, None] - steps).clamp(min=0).sum())}
        if self.config.quantizer == "kmeans":
            counts |= dict.fromkeys(("codebook", "commitment"), float(frames.sum()) * self.config.dim)
        return counts

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """feats [B, N, D] or audio [B, T], negatives [B, N', J] -> the sums of the losses."""
        encoded = self._encode(batch)
        total = encoded["codes"].new_zeros((), dtype=torch.float32)
        for scored, inside in self._scored(batch, encoded):
            terms = F.softplus(-scored[..., 0]) + F.softplus(scored[..., 1:]).sum(-1) if self.config.loss == "binary" \
                else scored.logsumexp(-1) - scored[..., 0]
            total = total + terms.masked_fill(~inside, 0).sum()
        return {"contrast": total} | {name: encoded[name] for name in self.losses["main"][1:]}

    def _encode(self, batch: Batch) -> dict[str, Any]:
        """frames and codes' vectors [B, N, D], contexts of every layer, ids [B, N, G], lengths [B], and the k-means
        variant's losses."""
        frames, lengths = self.hearing(batch)
        pad = pad_mask(lengths, frames.shape[1])
        if self.config.quantizer == "gumbel":
            (codes, ids, _), losses = self.quantizer(frames, pad, self.tau, batch.get("noise")), {}
        else:
            codes, ids, to_codes, to_frames = self.quantizer(frames, pad)
            losses = {"codebook": to_codes, "commitment": to_frames}
        codes = codes.masked_fill(pad[..., None], 0)
        return losses | {"frames": frames, "codes": codes, "ids": ids, "lengths": lengths,
                         "contexts": self.aggregator(codes)}

    def _scored(self, batch: Batch, encoded: dict[str, Any]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """For each step: scores [B, N - step, 1 + J], the true frame's first, and which frames count [B, N - step]."""
        codes = encoded["codes"]
        guesses = self.predict(encoded["contexts"][-1]).unflatten(-1, (self.config.steps, -1))
        size = codes.shape[1]
        for ahead in range(1, min(self.config.steps, size - 1) + 1):
            inside = ~pad_mask((encoded["lengths"] - ahead).clamp(min=0), size - ahead)
            yield scores(guesses[:, :, ahead - 1], codes, batch["negatives"], ahead), inside

    def after_step(self, step: int) -> None:
        c = self.config
        self.tau.fill_(max(c.last_tau, c.first_tau * c.tau_decay ** step))

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """How often the true frame scores best in the first and in all steps (chance is 1 / (1 + negatives)), and the
        mean perplexity of the groups of codes."""
        encoded = self._encode(batch)
        found = [(float((hits(scored) & inside).sum()), float(inside.sum()))
                 for scored, inside in self._scored(batch, encoded)]
        counts = code_counts(encoded["ids"], self.config.codes, pad_mask(encoded["lengths"], encoded["ids"].shape[1]))
        frames = float(encoded["lengths"].sum())
        return {"accuracy_1": found[0], "accuracy": tuple(map(sum, zip(*found))),
                "perplexity": (float(perplexity(counts).mean()) * frames, frames)}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Few codes in use."""
        return few_codes(values, self.config.least_perplexity) if step >= self.config.guard_from else None

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.hearing.frame_lengths(lengths)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The frames, the codes' vectors, and every causal convolution's output."""
        encoded = self._encode(batch)
        pad = pad_mask(encoded["lengths"], encoded["codes"].shape[1])[..., None]
        return [x.masked_fill(pad, 0) for x in (encoded["frames"], encoded["codes"], *encoded["contexts"])], \
            encoded["lengths"]

    @torch.no_grad()
    def units(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The codes of each frame, ids [B, N, G], and lengths [B]."""
        encoded = self._encode(batch)
        return encoded["ids"], encoded["lengths"]
