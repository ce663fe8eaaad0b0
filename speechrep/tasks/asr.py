"""Recognition by connectionist temporal classification (Graves et al. 2006) on an upstream, frozen or fine-tuned.

Loss:
  ctc   negative log-likelihood of the target, summed over utterances; counted in target symbols
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.data.dataset import SpeechDataset
from speechrep.methods.base import Batch
from speechrep.nn.encoder import Encoder
from speechrep.nn.masking import pad_mask
from speechrep.tasks.base import BaseTask
from speechrep.upstream import Upstream


@dataclass(frozen=True)
class Config:
    """The head and what it spells in."""

    units: Literal["phones", "chars"] = "phones"
    """Phones without stress or tone, from the alignment; or the characters of the transcript."""
    finetune: bool = False
    """Train the upstream's weights too."""
    layer: Literal["weighted", "last"] = "weighted"
    """Which features the head sees: the learned weighted sum of all layers, or the last."""
    head_layers: int = 0
    """Time-delay blocks between the features and the output; 0 is a linear head."""
    head_dim: int = 256
    """Width of those blocks."""
    dropout: float = 0.1
    """Dropout in the head."""


class Task(BaseTask):
    """Frames -> symbols; symbol 0 is the blank."""

    Config = Config
    losses = {"main": ("ctc",)}

    def __init__(self, config: Config, upstream: Upstream, labels: tuple[str, ...]):
        super().__init__(config, upstream, labels)
        self.ids = {label: i + 1 for i, label in enumerate(labels)}
        if config.units == "phones":
            names = (phone.rstrip("0123456789") for phone in self.inventory.phones)
            self.register_buffer("unit_of_phone", torch.tensor([self.ids.get(name, 0) for name in names]))
        width = config.head_dim if config.head_layers else self.dim
        self.enter = nn.Linear(self.dim, width) if config.head_layers else nn.Identity()
        self.head = Encoder("tdnn", config.head_layers, width, 1, config.dropout)
        self.out = nn.Linear(width, 1 + len(labels))

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return ("phones",) if config.units == "phones" else ("text",)

    @staticmethod
    def labels_of(config: Config, train: SpeechDataset) -> tuple[str, ...]:
        """The symbols of the training part, sorted."""
        if config.units == "phones":
            return tuple(sorted({p.rstrip("0123456789") for p in train.inventory.phones} - {"SIL"}))
        return tuple(sorted({char for utt in train.utts for char in train.texts[utt]}))

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Targets [B, U] (ids from 1, zero behind the end) and their lengths. A character that training never saw is
        left out of the target; the score counts it all the same."""
        if self.config.units == "phones":
            units = self.unit_of_phone[batch["phones"]].masked_fill(
                pad_mask(batch["phones_lengths"], batch["phones"].shape[1]), 0)
            rows = [row[row > 0] for row in units]
        else:
            rows = [torch.tensor([self.ids[char] for char in text if char in self.ids], dtype=torch.long)
                    for text in batch["texts"]]
        targets = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.layer_scalars.device)
        return batch | {"targets": targets, "targets_lengths": torch.tensor([len(row) for row in rows])}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"ctc": max(int(batch["targets_lengths"].sum()), 1)}

    def log_probs(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of blank and symbols [B, N, K] and lengths [B]."""
        x, lengths = self.features(batch)
        x = self.head(self.enter(x), pad_mask(lengths, x.shape[1]))[-1]
        return F.log_softmax(self.out(x).float(), -1), lengths

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """What the upstream hears, targets [B, U] -> the summed loss. An utterance too short for its target adds nothing."""
        log_probs, lengths = self.log_probs(batch)
        loss = F.ctc_loss(log_probs.transpose(0, 1), batch["targets"], lengths.cpu(), batch["targets_lengths"],
                          reduction="sum", zero_infinity=True)
        return {"ctc": loss}

    @torch.no_grad()
    def transcribe(self, batch: Batch) -> list[list[str]]:
        """The best path's symbols, blanks and repetitions removed, for each utterance."""
        log_probs, lengths = self.log_probs(batch)
        found = []
        for row, length in zip(log_probs.argmax(-1).cpu(), lengths.tolist()):
            ids = torch.unique_consecutive(row[:length])
            found.append([self.labels[i - 1] for i in ids.tolist() if i > 0])
        return found
