"""Discrete BERT: masked prediction of speech that was turned into units before (Baevski et al., arXiv 1911.03912).

The second half of vq-wav2vec (arXiv 1910.05453, 4): units, made by a method of its own codes or by k-means and written
as the stream `units.NAME`, are read like words; spans of them are hidden from a transformer that must say what they
were. As an upstream it hears nothing but the units: `speechrep units` writes them for new data first.

Loss:
  masked    cross-entropy of the hidden units, over hidden frames

Where this file goes its own way. Positions come from a wide convolution rather than from a table of learned vectors, so
that utterances may be of any length. A hidden unit is always replaced by the same learned vector; BERT's share of
random and unchanged words is not used, nor is prediction of the next sentence. Each utterance is read whole.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.dropout import dropout
from speechrep.nn.masking import generators_of, span_mask
from speechrep.nn.packing import Rows
from speechrep.nn.quantizers import perplexity
from speechrep.nn.trunk import Trunk


@dataclass(frozen=True)
class Config:
    """Sizes and choices of Discrete BERT; the defaults are those of a RoBERTa base."""

    units: str
    """Which units: the NAME of `units.NAME` in the data folders."""
    codes: int
    """How many units there are: ids run from 0 to one less (`speechrep units` says so in its score's notes)."""
    unit_frames: int = 1
    """Feature frames a unit, the units' frame rate: 1 for vq-wav2vec's 100 a second."""
    layers: int = 12
    """Layers of the transformer."""
    dim: int = 768
    """Its width."""
    heads: int = 12
    """Its attention heads."""
    ffn_dim: int = 3072
    """Width of its feed-forward networks."""
    position_kernel: int = 128
    """Width of the positional convolution in units."""
    position_groups: int = 16
    """Groups of the positional convolution."""
    dropout: float = 0.1
    """Dropout of embeddings and branches."""
    attention_dropout: float = 0.1
    """Dropout of attention weights."""
    layerdrop: float = 0.0
    """Share of layers left out of a training step."""
    mask_share: float = 0.5
    """Units that would be hidden if spans never overlapped, as a share of all (ZeroSpeech 2021's baseline)."""
    mask_span: int = 10
    """Length of a hidden span in units (the same; there it varies about 10)."""
    guard_from: int = 1000
    """Optimiser step from which the guard against collapse stops a run (assumption)."""

    def __post_init__(self):
        if self.codes < 2 or self.unit_frames < 1 or self.dim % self.heads or self.dim % self.position_groups:
            raise ValueError("codes must be at least 2, unit_frames at least 1, dim a multiple of heads and of "
                             "position_groups")


class Method(BaseMethod):
    """Embeddings of units, a transformer, and the logits."""

    Config = Config
    needs = ("units:NAME",)
    losses = {"main": ("masked",)}

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        self.embedding = nn.Embedding(c.codes, c.dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.hidden_vector = nn.Parameter(0.02 * torch.randn(c.dim))
        self.trunk = Trunk(c.layers, c.dim, c.heads, c.ffn_dim, c.dropout, c.attention_dropout, layerdrop=c.layerdrop,
                           kernel=c.position_kernel, groups=c.position_groups)
        self.out = nn.Linear(c.dim, c.codes)

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (f"units:{config.units}",)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw which units to hide, `hidden` [B, N]."""
        return batch | {"hidden": span_mask(batch["units_lengths"], self.config.mask_share, self.config.mask_span,
                                            generators_of(batch["seeds"]))}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"masked": float(batch["hidden"].sum())}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """units [B, N], hidden [B, N] -> the cross-entropy summed over hidden units."""
        logits, targets = self._predict(batch)
        return {"masked": F.cross_entropy(logits, targets, reduction="sum")}

    def _predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [M, K] and true units [M] of the M hidden ones."""
        outputs, rows = self._read(batch, batch["hidden"])
        chosen = rows.pack(batch["hidden"])
        return self.out(outputs[-1][chosen]).float(), rows.pack(batch["units"][:, :rows.size])[chosen]

    def _read(self, batch: Batch, hidden: torch.Tensor | None = None) -> tuple[list[torch.Tensor], Rows]:
        """The transformer's input and every layer's output, each in rows [M, D]."""
        rows = Rows(batch["units_lengths"])
        units = rows.pack(batch["units"][:, :rows.size])
        if int(units.max()) >= self.config.codes:
            raise SpeechrepError(f"the unit {int(units.max())} in units.{self.config.units}",
                                 f"units below model.codes, which is {self.config.codes}",
                                 "set model.codes to what the codebook has; see exp/units/NAME/*/score.json")
        x = self.embedding(units)
        if hidden is not None:
            x = torch.where(rows.pack(hidden)[:, None], self.hidden_vector.to(x.dtype), x)
        return self.trunk.rows(dropout(x, self.config.dropout, self.embedding.training), rows)[0], rows

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Accuracy on hidden units; that of always saying the batch's most frequent one; and how many units the
        predictions spread over."""
        logits, targets = self._predict(batch)
        said, count = logits.argmax(-1), float(len(targets))
        made, true = (x.bincount(minlength=self.config.codes) for x in (said, targets))
        return {"accuracy": (float((said == targets).sum()), count), "most_frequent": (float(true.max()), count),
                "said_perplexity": (float(perplexity(made)) * count, count),
                "true_perplexity": (float(perplexity(true)) * count, count)}

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        """Always the same unit is said where the true ones vary."""
        if step < self.config.guard_from or values["true_perplexity"] < 4 or values["said_perplexity"] >= 1.5:
            return None
        return (f"what is said of hidden units has a perplexity of {values['said_perplexity']:.2f} where the true ones "
                f"have {values['true_perplexity']:.1f}; a healthy run says many")

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return lengths

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        outputs, rows = self._read(batch)
        return [rows.unpack(output) for output in outputs], rows.lengths
