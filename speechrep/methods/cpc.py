"""Contrastive predictive coding (van den Oord et al., arXiv 1807.03748), modified by Riviere et al. (arXiv 2002.02848).

A front end turns speech into frames z; a recurrent network reads them from left to right into contexts c; from c at
frame t a predictor of its own for each of K steps says what z will be 1 to K frames later, and must tell the true frame
from frames of elsewhere. The modification: a norm over channels in place of batch norm, which told positions apart by
the batch's statistics, and predictors that are causal transformer layers in place of matrices.

Loss:
  cpc    eq. 4 of the first paper, summed over K steps: cross-entropy of the true frame among itself and `negatives`
         others, over all frames that have K frames after them. A score is the mean, not the sum, of the product's
         dimensions (CPC_audio)

Where this file goes its own way. Utterances are whole rather than windows of 1.28 s, and other frames come from the
same utterance; `negatives_from: speaker` takes them from all of the speaker's in the micro-batch (of one process), as
the paper does by putting one speaker in a batch. In either case nobody gets by on knowing the voice. A false frame that
is the true one takes no part, where the released code lets it stand. The predictors have no positions: the contexts and
the order of seeing tell them. Utterances of no more than K frames teach nothing. `front: mel` hears log-mel features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.guards import frames_of, spread
from speechrep.nn.hearing import Hearing, Scope, check_scope, need_of
from speechrep.nn.masking import generators_of, pad_mask
from speechrep.nn.negatives import draw_negatives, hits, scores
from speechrep.nn.transformer import TransformerBlock


@dataclass(frozen=True)
class Config:
    """Sizes and choices of CPC; the defaults are those of the released CPC_audio."""

    front: Literal["mel", "wave"] = "wave"
    """What it hears: dumped log-mel features through two convolutions, or the waveform through five."""
    mel_stride: int = 2
    """Feature frames per frame (front "mel"): 1, 2 or 4."""
    standardise_by: Scope = "part"
    """Within what log-mel is standardised (front "mel"): the training part, each utterance, or each speaker."""
    kernels: tuple[int, ...] = (10, 8, 4, 4, 4)
    """Widths of the waveform's convolutions (CPC_audio)."""
    strides: tuple[int, ...] = (5, 4, 2, 2, 2)
    """Strides of the waveform's convolutions: 160 samples a frame (CPC_audio)."""
    dim: int = 256
    """Width of frames and contexts (CPC_audio)."""
    recurrent: Literal["lstm", "gru"] = "lstm"
    """The network that reads from left to right (CPC_audio)."""
    layers: int = 1
    """Its layers (CPC_audio)."""
    predictor: Literal["transformer", "linear"] = "transformer"
    """What predicts: causal transformer layers, or matrices (the first paper), which need a longer warm-up."""
    heads: int = 8
    """Attention heads of a predictor (CPC_audio)."""
    ffn_dim: int = 1024
    """Width of a predictor's feed-forward network (assumption)."""
    dropout: float = 0.1
    """Dropout of the predictors (assumption)."""
    steps: int = 12
    """How many frames ahead are predicted, K (CPC_audio)."""
    negatives: int = 128
    """False frames, the same for all K steps (CPC_audio)."""
    negatives_from: Literal["utterance", "speaker"] = "utterance"
    """Where false frames come from: the utterance, or all utterances of its speaker in the micro-batch."""
    guard_from: int = 500
    """Optimiser step from which the guard against collapse stops a run (assumption)."""

    def __post_init__(self):
        check_scope(self.front == "mel", self.standardise_by)
        if self.mel_stride not in (1, 2, 4) or min(self.layers, self.steps, self.negatives) < 1:
            raise ValueError("mel_stride must be 1, 2 or 4, layers, steps and negatives at least 1")
        if len(self.kernels) != len(self.strides) or self.dim % self.heads:
            raise ValueError("as many strides as kernels, and dim a multiple of heads, are wanted")


class Predictor(nn.Module):
    """Contexts [B, N, D] -> what the frame will be a fixed number of steps later [B, N, D]."""

    def __init__(self, kind: str, dim: int, heads: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.block = TransformerBlock(dim, heads, dropout, ffn_dim) if kind == "transformer" else None
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, contexts: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
        return self.out(contexts if self.block is None else self.block(contexts, pad, causal=True))


class Method(BaseMethod):
    """Front end, recurrent network, and a predictor for each step."""

    Config = Config
    needs = ("audio",)
    losses = {"main": ("cpc",)}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        if c.negatives_from == "speaker":
            self.across_batch = frozenset({"cpc"})
        self.hearing = Hearing(c.front, c.dim, c.mel_stride, c.kernels, c.strides, inventory.mean, inventory.std)
        kind = nn.LSTM if c.recurrent == "lstm" else nn.GRU
        self.recurrent = nn.ModuleList(kind(c.dim, c.dim, batch_first=True) for _ in range(c.layers))
        self.predictors = nn.ModuleList(Predictor(c.predictor, c.dim, c.heads, c.ffn_dim, c.dropout)
                                        for _ in range(c.steps))

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        heard = need_of(config.front == "mel", config.standardise_by)
        return (heard, "speaker") if config.negatives_from == "speaker" else (heard,)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the false frames `negatives` [B, N, J]; `frames` [B] are the utterances' lengths."""
        frames = self.frame_lengths(batch[f"{self.hearing.stream}_lengths"])
        speaker = batch["speaker"] if self.config.negatives_from == "speaker" else None
        return batch | {"frames": frames, "negatives": draw_negatives(
            frames, int(frames.max()), self.config.negatives, generators_of(batch["seeds"]), speaker)}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"cpc": float((batch["frames"] - self.config.steps).clamp(min=0).sum())}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """feats [B, N, D] or audio [B, T], negatives [B, N', J] -> the cross-entropy summed over steps and frames."""
        total = batch["frames"].new_zeros((), dtype=torch.float32)
        for scored, anchors in self._scored(batch, *self.layers(batch)):
            total = total + (scored.logsumexp(-1) - scored[..., 0]).masked_fill(~anchors, 0).sum()
        return {"cpc": total}

    def _scored(self, batch: Batch, layers: list[torch.Tensor],
                lengths: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """For each step: scores [B, N - step, 1 + J], the true frame's first, and which frames count [B, N - step]."""
        c = self.config
        frames, contexts = layers[0], layers[-1]
        pad = pad_mask(lengths, frames.shape[1])
        anchors = ~pad_mask((lengths - c.steps).clamp(min=0), frames.shape[1])
        for ahead, predictor in enumerate(self.predictors, 1):
            if ahead < frames.shape[1]:
                scored = scores(predictor(contexts, pad), frames, batch["negatives"], ahead,
                                c.negatives_from == "utterance")
                yield scored / c.dim, anchors[:, :frames.shape[1] - ahead]

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """How often the true frame scores best, for each step (chance is 1 / (1 + negatives)), and how much the frames
        vary."""
        layers, lengths = self.layers(batch)
        found = {f"accuracy_{ahead}": (float((hits(scored) & anchors).sum()), float(anchors.sum()))
                 for ahead, (scored, anchors) in enumerate(self._scored(batch, layers, lengths), 1)}
        inside = frames_of(lengths, layers[0].shape[1])
        return found | {"frame_std": spread(layers[0], inside), "context_std": spread(layers[-1], inside)}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Frames that are all alike, or a next frame that is found no better than by chance."""
        if step < self.config.guard_from:
            return None
        if values["frame_std"] < 1e-3:
            return (f"the frames hardly vary (standard deviation {values['frame_std']:.2g}); a healthy run has 0.1 and "
                    "more")
        chance = 1 / (1 + self.config.negatives)
        if values["accuracy_1"] < 1.5 * chance:
            return (f"the next frame is found in {100 * values['accuracy_1']:.1f} % of cases, by chance in "
                    f"{100 * chance:.1f} %; a healthy run is far above that")
        return None

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.hearing.frame_lengths(lengths)

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        x, lengths = self.hearing(batch)
        pad = pad_mask(lengths, x.shape[1])[..., None]
        outputs = [x]
        for layer in self.recurrent:
            outputs.append(layer(outputs[-1])[0].masked_fill(pad, 0))
        return outputs, lengths
