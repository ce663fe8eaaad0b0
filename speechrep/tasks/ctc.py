"""The brick of tasks that spell: connectionist temporal classification (Graves et al. 2006) on an upstream.

Loss:
  ctc   negative log-likelihood of the target, summed over utterances; counted in target symbols
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.methods.base import Batch
from speechrep.metrics.wer import edits
from speechrep.nn.ctc_head import CTCHead
from speechrep.nn.spec_augment import SpecAugment
from speechrep.tasks.base import BaseTask, HeadConfig
from speechrep.upstream import Upstream


@dataclass(frozen=True)
class Config(HeadConfig):
    """Upstream, head and augmentation."""

    head: Literal["tdnn", "linear", "blstm"] = "tdnn"
    """Time-delay blocks; two linear layers (SUPERB's phone recognition); bidirectional LSTMs (SUPERB's recognition)."""
    head_layers: int = 0
    """Blocks or LSTM layers (SUPERB: 2) of the head; 0 with tdnn is a norm and a linear layer."""
    head_dim: int = 256
    """Width of the head, of an LSTM each way (SUPERB: 256 for phones, 1024 for characters)."""
    dropout: float = 0.1
    """Dropout in the head (SUPERB: 0.2 behind each LSTM)."""
    time_warp: int = 0
    """SpecAugment on what the head sees, in training: frames by which time is warped at most; 0 does not (s3prl: 5)."""
    time_masks: int = 0
    """Masks along time (s3prl: 2)."""
    time_width: int = 40
    """Below how many frames each of them is (s3prl: 40)."""
    time_adaptive: float = 0.0
    """Where above 0, time masks grow in number and width with this share of the length (s3prl, slot filling: 0.04)."""
    dim_masks: int = 0
    """Masks along the feature dimensions (s3prl: 4)."""
    dim_width: int = 50
    """Below how many dimensions each of them is (s3prl: 50)."""
    end_symbol: bool = False
    """Learn to spell an end behind each target, behind a space in recognition of characters, as s3prl does; what is said
    stops there, and every score is without it."""


class CTCTask(BaseTask):
    """Frames -> symbols; symbol 0 is the blank, the others have the ids of `symbols` plus one.

    A task says what its `symbols` are, names of the labels, and gives the ids of an utterance's target, `target_rows`. The
    end, where there is one, has the last id and is no symbol.
    """

    losses = {"main": ("ctc",)}
    selects = "error_rate"
    superb = {"model.end_symbol=true": "an end is learned behind each target, and what is said stops there"}

    def __init__(self, config: Config, upstream: Upstream, labels: tuple[str, ...]):
        super().__init__(config, upstream, labels)
        self.symbols = tuple(label.partition("\t")[0] for label in labels)
        self.ids = {symbol: i + 1 for i, symbol in enumerate(self.symbols)}
        self.head = CTCHead(config.head, self.dim, config.head_dim, config.head_layers, config.dropout,
                            1 + len(labels) + config.end_symbol)
        self.augment = SpecAugment(config.time_warp, config.time_masks, config.time_width, config.time_adaptive,
                                   config.dim_masks, config.dim_width)

    def target_rows(self, batch: Batch) -> list[torch.Tensor]:
        """The ids of each utterance's target [U]."""
        raise TypeError(f"{type(self).__module__} does not say what is spelt")

    @property
    def ending(self) -> tuple[int, ...]:
        """The ids behind every target."""
        return (1 + len(self.symbols),) if self.config.end_symbol else ()

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Targets [B, U] (ids from 1, zero behind the end) and their lengths, and what SpecAugment draws. A symbol that
        training never saw is left out of the target; the score counts it all the same."""
        ending = torch.tensor(self.ending, dtype=torch.long)
        rows = [torch.cat([row, ending.to(row.device)]) for row in self.target_rows(batch)]
        targets = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.layer_scalars.device)
        made = {"targets": targets, "targets_lengths": torch.tensor([len(row) for row in rows])}
        if self.augment.active:
            made["augment"] = self.augment.draw(batch["seeds"])
        return batch | made

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"ctc": max(int(batch["targets_lengths"].sum()), 1)}

    def log_probs(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of blank and symbols [B, N, K] and lengths [B]."""
        x, lengths = self.features(batch)
        if self.training and self.augment.active:
            x = self.augment(x, lengths, batch["augment"])
        return F.log_softmax(self.head(x, lengths).float(), -1), lengths

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """What the upstream hears, targets [B, U] -> the summed loss. An utterance too short for its target adds
        nothing."""
        log_probs, lengths = self.log_probs(batch)
        loss = F.ctc_loss(log_probs.transpose(0, 1), batch["targets"], lengths.cpu(), batch["targets_lengths"],
                          reduction="sum", zero_infinity=True)
        return {"ctc": loss}

    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Errors of the best path against the target without its end, over its symbols, and what `path_metrics` makes of it."""
        lengths = (batch["targets_lengths"] - int(self.config.end_symbol)).tolist()
        paths = [best_path(row, self.symbols) for row in self.emissions(batch)]
        errors = sum(edits([self.symbols[i - 1] for i in row[:length]], path).errors
                     for row, length, path in zip(batch["targets"].tolist(), lengths, paths))
        return {"error_rate": (float(errors), max(float(sum(lengths)), 1.0))} | self.path_metrics(batch, paths)

    def path_metrics(self, batch: Batch, paths: list[list[str]]) -> dict[str, tuple[float, float]]:
        """Other (sum, count) pairs, of the symbols of each utterance's best path."""
        return {}

    @torch.no_grad()
    def emissions(self, batch: Batch) -> list[torch.Tensor]:
        """Log-probabilities of blank and symbols for each utterance [N, K], on the CPU, up to the frame whose most likely
        symbol is the end, as s3prl stops there; before it, the end counts for nothing."""
        log_probs, lengths = self.log_probs(batch)
        rows = [row[:length] for row, length in zip(log_probs.cpu(), lengths.tolist())]
        if self.config.end_symbol:
            rows = [row[:int((row.argmax(-1) == row.shape[1] - 1).cumsum(0).eq(0).sum()), :-1] for row in rows]
        return rows

    def transcribe(self, batch: Batch) -> list[list[str]]:
        """The best path's symbols, blanks and repetitions removed, for each utterance."""
        return [best_path(row, self.symbols) for row in self.emissions(batch)]


def best_path(log_probs: torch.Tensor, symbols: tuple[str, ...]) -> list[str]:
    """The symbols of the most likely path: log_probs [N, K] of the blank and `symbols`."""
    ids = torch.unique_consecutive(log_probs.argmax(-1))
    return [symbols[i - 1] for i in ids.tolist() if i > 0]
