"""Frame phone classification: a linear layer says of every frame which phone, without stress or tone, is said.

The truth is the phone at the frame's place in `ali`; silence is a class too. A phone that training never saw adds no
loss and counts as an error.

Loss:
  cross_entropy   negative log-likelihood of the phones, summed over frames; counted in frames
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from speechrep.data.alignment import frames_per_phone, read_ali
from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import read_table
from speechrep.methods.base import Batch
from speechrep.metrics.accuracy import frame_hits
from speechrep.metrics.bootstrap import ratio_interval
from speechrep.metrics.score import metric
from speechrep.tasks.base import BaseTask, HeadConfig, Scored
from speechrep.upstream import Upstream

UNKNOWN = -100
"""The target of a phone that training never saw and of padding; F.cross_entropy's default of what to ignore."""


@dataclass(frozen=True)
class Config(HeadConfig):
    """Labels and head."""

    stream: str = "ali"
    """The stream of the data folder that holds phones with their end times."""


class Task(BaseTask):
    """Frames -> phones."""

    Config = Config
    losses = {"main": ("cross_entropy",)}
    selects = "error"

    def __init__(self, config: Config, upstream: Upstream, labels: tuple[str, ...]):
        super().__init__(config, upstream, labels)
        self.ids = {label: i for i, label in enumerate(labels)}
        self.hop_sec = upstream.hop_samples / upstream.rate_hz
        self.out = nn.Linear(self.dim, len(labels))

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return (f"label:{config.stream}",)

    @staticmethod
    def labels_of(config: Config, train: SpeechDataset) -> tuple[str, ...]:
        """The phones of the training part, sorted, with SIL."""
        lines = (train.labels[config.stream][utt] for utt in train.utts)
        return tuple(sorted({_base(phone) for line in lines for phone in read_ali(line)[0]}))

    def spoken(self, line: str, frames: int) -> np.ndarray:
        """The phone of each frame [frames]."""
        phones, ends = read_ali(line)
        return np.repeat([_base(phone) for phone in phones], frames_per_phone(np.array(ends), frames, self.hop_sec))

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Targets [B, N]."""
        lengths = self.heard_lengths(batch)
        rows = [torch.tensor([self.ids.get(phone, UNKNOWN) for phone in self.spoken(line, length)], dtype=torch.long)
                for line, length in zip(batch["labels"][self.config.stream], lengths.tolist())]
        return batch | {"targets": nn.utils.rnn.pad_sequence(rows, True, UNKNOWN).to(self.out.weight.device)}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"cross_entropy": float((batch["targets"] != UNKNOWN).sum())}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """What the upstream hears, targets [B, N] -> the summed loss."""
        scores = self.out(self.features(batch)[0]).float()
        return {"cross_entropy": F.cross_entropy(scores.transpose(1, 2), batch["targets"], reduction="sum")}

    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        right = self.out(self.features(batch)[0]).argmax(-1) == batch["targets"]
        return {"accuracy": (float(right.sum()), self.counts(batch)["cross_entropy"])}

    def dev_values(self, values: dict[str, float], shares: list[Any]) -> dict[str, float]:
        """`error`, 1 - accuracy over frames."""
        return {"error": 1 - values["accuracy"]}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, list[str]]:
        """`hyp` and `ref`: a phone for each frame."""
        x, lengths = self.features(batch)
        best = self.out(x).argmax(-1).cpu().tolist()
        files: dict[str, list[str]] = {"hyp": [], "ref": []}
        for row, length, line in zip(best, lengths.tolist(), batch["labels"][self.config.stream]):
            files["hyp"].append(" ".join(self.labels[i] for i in row[:length]))
            files["ref"].append(" ".join(self.spoken(line, length)))
        return files

    @staticmethod
    def score(folder: Path) -> Scored:
        """Errors over all frames, and over those that are not silence."""
        found = frame_hits(read_table(folder / "ref"), read_table(folder / "hyp"))
        order = list(found)
        metrics = {}
        for name, counted in (("frame_error", None), ("frame_error_speech", "SIL")):
            kept = {utt: true != counted if counted else np.ones(len(true), bool) for utt, (true, _) in found.items()}
            wrong = np.array([(~found[utt][1] & kept[utt]).sum() for utt in order])
            frames = np.array([kept[utt].sum() for utt in order])
            value = ratio_interval(wrong, frames)
            metrics[name] = metric(*(100 * v for v in value), n=int(frames.sum()), unit="%", better="lower")
        return Scored(metrics, {utt: {"frames": len(right), "errors": int((~right).sum())}
                                for utt, (_, right) in found.items()})


def _base(phone: str) -> str:
    return phone.rstrip("0123456789") or phone
