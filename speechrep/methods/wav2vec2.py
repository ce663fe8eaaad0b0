"""wav2vec 2.0: contrast between true and false quantised frames where the input is hidden
(Baevski et al., arXiv 2006.11477).

Convolutions turn the waveform into frames; spans of them are hidden from a transformer, whose output there must tell
the quantised version of the very frame that was hidden from those of other hidden frames of the same utterance. The
codebooks are learned at the same time, by straight-through Gumbel-softmax.

Losses:
  contrast    eq. 3: cross-entropy of the cosines to the true and `negatives` false frames over a temperature, over
              hidden frames
  diversity   eq. 4 in the released form, (GV - sum of the groups' perplexities) / GV of the softmax averaged over all
              hidden frames of the batch; times their number, so that both average over the same
  penalty     squared activations of the front end (released code), over frames and channels

Where this file goes its own way. Every utterance is whole and keeps all its hidden frames; the released code crops to
the shortest and trims masks to the same number. False frames with the same codes as the true one are left out by
comparing codes, not vectors. `front: mel` hears log-mel features instead of the waveform.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.dropout import dropout
from speechrep.nn.masking import generators_of
from speechrep.nn.quantizers import GumbelQuantizer, code_counts, diversity, gumbel_noise, perplexity
from speechrep.nn.speech_encoder import EncoderSizes, SpeechEncoder


@dataclass(frozen=True)
class Config(EncoderSizes):
    """Sizes and choices of wav2vec 2.0, the base size by default."""

    groups: int = 2
    """Codebooks (4.2)."""
    codes: int = 320
    """Codes in each (4.2)."""
    code_dim: int = 256
    """Dimension of the codes of all groups together (4.2)."""
    joint_dim: int = 256
    """Dimension of the space of the contrast (released configuration)."""
    negatives: int = 100
    """False frames for each hidden one (4.2)."""
    temperature: float = 0.1
    """What cosines are divided by (4.2)."""
    first_tau: float = 2.0
    """Temperature of the Gumbel-softmax at the start (4.2)."""
    last_tau: float = 0.5
    """What it falls to (4.2)."""
    tau_decay: float = 0.999995
    """Its factor in each step (4.2)."""
    target_dropout: float = 0.1
    """Dropout of what is quantised (released configuration)."""
    guard_steps: int = 5000
    """Steps behind which a collapsed codebook or contrast stops the run (assumption: data2vec's number)."""


class Method(BaseMethod):
    """Masked encoder, quantiser and the two projections into the space of the contrast."""

    Config = Config
    needs = ("audio", "feats")
    losses = {"main": ("contrast", "diversity", "penalty")}
    across_batch = frozenset({"diversity"})

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        self.encoder = SpeechEncoder(c, inventory.mean, inventory.std)
        self.quantizer = GumbelQuantizer(c.front_dim, c.groups, c.codes, c.code_dim, logit_std=1.0)
        self.project_prediction = nn.Linear(c.dim, c.joint_dim)
        self.project_target = nn.Linear(c.code_dim, c.joint_dim)
        self.register_buffer("tau", torch.tensor(c.first_tau))

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (config.need,)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the hidden spans, the false frames (as positions among the utterance's hidden frames) and the
        quantiser's noise."""
        c = self.config
        hidden = self.encoder.draw_hidden(batch)
        # Other seeds than the spans', so that the draws have nothing to do with one another.
        draws = generators_of(batch["seeds"] + 1)
        false = [false_frames(int(row.sum()), c.negatives, draw) for row, draw in zip(hidden, draws)]
        prepared = batch | {"hidden": hidden, "false": [row.to(hidden.device) for row in false]}
        if self.training:
            counts = hidden.sum(1)
            noise = gumbel_noise(counts, int(counts.max()), c.groups * c.codes, batch["seeds"] + 2)
            prepared["noise"] = torch.cat([row[:count] for row, count in zip(noise, counts.tolist())])
        return prepared

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        hidden = int(batch["hidden"].sum())
        return {"contrast": hidden, "diversity": hidden,
                "penalty": int(self.encoder.lengths_of(batch).sum()) * self.config.front_dim}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """audio [B, T] or feats [B, N, D], hidden [B, N'] -> sums of the three losses."""
        logits, _, probs, frames = self.contrast(batch)
        truth = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return {"contrast": F.cross_entropy(logits, truth, reduction="sum"),
                "diversity": diversity(probs, len(logits), gather=self.training) * len(logits),
                "penalty": frames.float().square().sum()}

    def contrast(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits [M, 1 + negatives] of a prepared batch's hidden frames, the true one first, their codes [M, G], the
        summed probabilities of codes [G, V], and all frames of the front end."""
        c = self.config
        frames, rows = self.encoder.hear(batch)
        normed, x = self.encoder.enter(frames)
        hidden = rows.pack(batch["hidden"])
        outputs, _ = self.encoder.trunk.rows(self.encoder.hide(x, hidden), rows)
        noise = batch["noise"][None] if self.training else None
        targets = dropout(normed[hidden], c.target_dropout, self.training)
        vectors, ids, probs = self.quantizer(targets[None], None, self.tau, noise)
        true = F.normalize(self.project_target(vectors[0]).float(), dim=-1)
        guess = F.normalize(self.project_prediction(outputs[-1][hidden]).float(), dim=-1)
        counts = batch["hidden"].sum(1).tolist()
        logits = [_logits(*parts, c.temperature) for parts in
                  zip(guess.split(counts), true.split(counts), ids[0].split(counts), batch["false"])]
        return torch.cat(logits), ids[0], probs, frames

    def after_step(self, step: int) -> None:
        c = self.config
        self.tau.fill_(max(c.last_tau, c.first_tau * c.tau_decay ** step))

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Accuracy of the contrast (chance is one in 1 + negatives), perplexity of a group's codes."""
        logits, ids, _, _ = self.contrast(batch)
        used = perplexity(code_counts(ids[None], self.config.codes)).mean()
        return {"accuracy": (float((logits.argmax(1) == 0).sum()), len(logits)),
                "code_perplexity": (float(used) * len(logits), len(logits))}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        if step < self.config.guard_steps:
            return None
        if values["code_perplexity"] < 1.5:
            return (f"the codes in use have a perplexity of {values['code_perplexity']:.2f} of {self.config.codes}; a "
                    "healthy run uses a good part of them")
        if values["contrast"] < 0.01:
            return (f"the contrast has fallen to {values['contrast']:.4f}: the task has become trivial; a healthy run "
                    "stays above 0.1")
        return None

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        return self.encoder.layers(batch)

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return self.encoder.frame_lengths(lengths)


def false_frames(count: int, negatives: int, generator: torch.Generator) -> torch.Tensor:
    """For each of `count` frames `negatives` others of them, uniformly and with replacement [count, negatives]; none
    where there is no other."""
    if count < 2:
        return torch.zeros(count, 0, dtype=torch.long)
    drawn = torch.randint(count - 1, (count, negatives), generator=generator)
    return drawn + (drawn >= torch.arange(count)[:, None])


def _logits(guess: torch.Tensor, true: torch.Tensor, ids: torch.Tensor, false: torch.Tensor,
            temperature: float) -> torch.Tensor:
    """One utterance's unit vectors [M, D], codes [M, G] and false frames [M, J] -> logits [M, 1 + J]."""
    # All pairs at once cost less than gathering J vectors for each frame.
    cosines = (guess @ true.T).float()
    chosen = torch.cat([torch.arange(len(guess), device=guess.device)[:, None], false], 1)
    logits = cosines.gather(1, chosen) / temperature
    same = (ids[:, None] == ids[None]).all(-1).gather(1, chosen)
    same[:, 0] = False
    return logits.masked_fill(same, float("-inf"))
