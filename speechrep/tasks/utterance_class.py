"""The brick of tasks that give an utterance a class, or one for each of several slots: SUPERB's head.

A linear layer on the frames, their mean over the utterance, a linear layer to the classes (Yang et al. 2021, and
s3prl's downstream heads). With several slots each has a softmax of its own and the losses are summed.

What happens to odd labels: an utterance without a label is left out of every part; a class that dev or test has and the
training part has not adds no loss and counts as an error, unless the task refuses it (`closed`); a class that dev lacks
is no matter. `within` restricts the choice to the classes that training saw together with the utterance's value of
another stream, such as its language, in training too: what tells languages apart is then of no use.

Loss:
  cross_entropy   negative log-likelihood of the classes, summed over slots and utterances; counted in utterances
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder, read_table
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Batch
from speechrep.metrics.accuracy import hits
from speechrep.metrics.bootstrap import mean_interval
from speechrep.metrics.score import metric
from speechrep.nn.masking import pad_mask
from speechrep.tasks.base import BaseTask, HeadConfig, Scored
from speechrep.upstream import Upstream

UNKNOWN = -100
"""The target of what training never saw; F.cross_entropy's default of what to ignore."""


@dataclass(frozen=True)
class Config(HeadConfig):
    """Labels and head."""

    stream: str
    """The stream of the data folder that holds the classes, one line an utterance."""
    within: str = ""
    """The stream by whose value the choice is restricted; none where empty."""
    separator: str = ""
    """What parts the slots of a label; one slot where empty."""
    dim: int = 256
    """Width between the two linear layers (SUPERB: 256)."""
    dropout: float = 0.0
    """Dropout of the pooled vector."""


class UtteranceClassifier(BaseTask):
    """Frames -> classes. A label is "slot TAB class", with `within` also "TAB group" for each that may choose it."""

    losses = {"main": ("cross_entropy",)}
    selects = "error"
    pools = True
    frame_level = False
    closed = False
    """Whether a class that training never saw is refused."""

    def __init__(self, config: Config, upstream: Upstream, labels: tuple[str, ...]):
        super().__init__(config, upstream, labels)
        rows = [label.split("\t") for label in labels]
        slots = 1 + max(int(row[0]) for row in rows)
        self.classes = [[row[1] for row in rows if int(row[0]) == slot] for slot in range(slots)]
        self.ids = [{name: i for i, name in enumerate(names)} for names in self.classes]
        self.groups = {name: i for i, name in enumerate(sorted({group for row in rows for group in row[2:]}))}
        allowed = torch.tensor([[group in row[2:] for row in rows] for group in self.groups], dtype=torch.bool)
        # The last row, for a group that training never saw, allows all.
        everywhere = torch.ones(1, len(rows), dtype=torch.bool)
        self.register_buffer("allowed", torch.cat([allowed.reshape(-1, len(rows)), everywhere]), persistent=False)
        self.enter = nn.Linear(self.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.dim, len(rows))

    @classmethod
    def needs_of(cls, config: Config) -> tuple[str, ...]:
        return tuple(f"label:{stream}" for stream in (config.stream, config.within) if stream)

    @staticmethod
    def labels_of(config: Config, train: SpeechDataset) -> tuple[str, ...]:
        """Classes by slot, sorted. Raises `SpeechrepError` for labels of different numbers of slots, several slots with
        `within`, and fewer than two classes in a slot."""
        lines = [split(train.labels[config.stream][utt], config.separator) for utt in train.utts]
        where = f"{train.folder.path}/{config.stream}"
        if len({len(line) for line in lines}) > 1 or config.within and len(lines[0]) > 1:
            counts = " and ".join(map(str, sorted({len(line) for line in lines})))
            raise SpeechrepError(f"{where}: labels of {counts} slots",
                                 "the same number in each, and one where `within` is set")
        groups: dict[str, set[str]] = {}
        for utt, line in zip(train.utts, lines):
            own = split(train.labels[config.within][utt], "") if config.within else ()
            groups.setdefault(line[0], set()).update(own)
        found = []
        for slot, names in enumerate(zip(*lines)):
            if len(set(names)) < 2:
                raise SpeechrepError(f"{where}: one class in slot {slot}, '{names[0]}'", "two or more to choose from")
            found += ["\t".join([str(slot), name, *(sorted(groups[name]) if config.within else ())])
                      for name in sorted(set(names))]
        return tuple(found)

    @classmethod
    def obstacle(cls, config: Config, folders: dict[str, DataFolder]) -> str:
        """Fewer than two classes in a slot, or in every group where `within` is set; where the task is `closed`, classes
        that are only in test."""
        train, test = folders["train"], folders["test"]
        tested = test.labels(config.stream)
        found = {utt: tuple(split(line, config.separator)) for utt, line in train.labels(config.stream).items()}
        for slot in range(max(map(len, found.values()))):
            names = {line[slot] for line in found.values() if slot < len(line)}
            if len(names) < 2:
                return f"{train.path}/{config.stream}: one class in slot {slot}, '{names.pop()}'"
        if config.within:
            groups: dict[str, set] = {}
            for utt, group in train.labels(config.within).items():
                if utt in found:
                    groups.setdefault(group, set()).add(found[utt])
            asked = {group for utt, group in test.labels(config.within).items() if utt in tested}
            if all(len(groups.get(group, ())) < 2 for group in asked):
                return f"no two classes of {train.path}/{config.stream} in one group of {config.within}"
        new = sorted({" ".join(line.split()) for line in tested.values()}
                     - {name for line in found.values() for name in line})
        if cls.closed and new:
            return f"{len(new)} of {config.stream} are only in {test.path}, such as '{new[0]}'"
        return ""

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Targets [B, slots] and, for each utterance, the row of `allowed` [B]."""
        lines = [split(line, self.config.separator) for line in batch["labels"][self.config.stream]]
        targets = torch.full((len(lines), len(self.ids)), UNKNOWN)
        for row, line in enumerate(lines):
            ids = [table.get(name) for table, name in zip(self.ids, line)]
            if len(line) == len(self.ids) and None not in ids:
                targets[row] = torch.tensor(ids)
        within = batch["labels"][self.config.within] if self.config.within else [""] * len(lines)
        groups = torch.tensor([self.groups.get(" ".join(line.split()), len(self.groups)) for line in within])
        targets = targets.to(self.allowed.device)
        groups = groups.to(self.allowed.device)
        if self.config.within:
            known = targets[:, 0] != UNKNOWN
            reachable = self.allowed[groups, targets[:, 0].clamp(min=0)]
            targets[known & ~reachable] = UNKNOWN
        return batch | {"targets": targets, "groups": groups}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        return {"cross_entropy": float((batch["targets"][:, 0] != UNKNOWN).sum())}

    def logits(self, batch: Batch) -> list[torch.Tensor]:
        """The scores of each slot's classes [B, K], minus infinity where a class may not be chosen."""
        x, lengths = self.features(batch)
        x = self.enter(x).masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0)
        mean = x.sum(1) / lengths.clamp(min=1)[:, None].to(x.device)
        scores = self.out(self.dropout(mean)).float().masked_fill(~self.allowed[batch["groups"]], float("-inf"))
        return list(scores.split([len(names) for names in self.classes], 1))

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """What the upstream hears, targets [B, slots] -> the summed loss."""
        return {"cross_entropy": sum(F.cross_entropy(scores, batch["targets"][:, slot], reduction="sum")
                                     for slot, scores in enumerate(self.logits(batch)))}

    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        said = torch.stack([scores.argmax(1) for scores in self.logits(batch)], 1)
        return {"accuracy": (float((said == batch["targets"]).all(1).sum()), float(len(said)))}

    def dev_values(self, values: dict[str, float], shares: list[Any]) -> dict[str, float]:
        """`error`, 1 - accuracy."""
        return {"error": 1 - values["accuracy"]}

    @torch.no_grad()
    def predict(self, batch: Batch) -> dict[str, list[str]]:
        """`hyp` and `ref`, classes with the slots' separator between them; where the choice is restricted, `within` and
        among how many, `choices`."""
        batch = self.prepare(batch, torch.Generator())
        truth = batch["labels"][self.config.stream]
        if self.closed:
            new = sorted({" ".join(line.split()) for line in truth} - set(self.classes[0]))
            if new:
                raise SpeechrepError(f"{len(new)} of {self.config.stream} that training never heard, such as "
                                     f"'{new[0]}'", "those of the training part, among which is chosen",
                                     "leave their utterances out, or train on a part that has them")
        best = [scores.argmax(1).tolist() for scores in self.logits(batch)]
        said = zip(*([names[i] for i in row] for names, row in zip(self.classes, best)))
        files = {"hyp": [self.config.separator.join(names) for names in said],
                 "ref": [self.config.separator.join(split(line, self.config.separator)) for line in truth]}
        if self.config.within:
            files |= {"within": batch["labels"][self.config.within],
                      "choices": [str(count) for count in self.allowed[batch["groups"]].sum(1).tolist()]}
        return files

    @staticmethod
    def score(folder: Path) -> Scored:
        """Accuracy over all utterances and, with `within`, in each group of them; where a group has but one class there is
        no choice, and its utterances count nowhere. Raises `SpeechrepError` if that leaves none."""
        references = read_table(folder / "ref")
        right = hits(references, read_table(folder / "hyp"))
        choices = read_table(folder / "choices") if (folder / "choices").is_file() else {}
        order = [utt for utt in sorted(right) if choices.get(utt) != "1"]
        if not order:
            raise SpeechrepError(f"{folder}: every utterance has one class to choose from", "groups of two classes or more",
                                 "set model.within to another stream, or leave this task out")
        found = {"accuracy": _accuracy([right[utt] for utt in order])}
        per_utt = {utt: {"ref": references[utt], "correct": int(right[utt])} for utt in order}
        if (folder / "within").is_file():
            groups = read_table(folder / "within")
            for group in sorted({groups[utt] for utt in order}):
                found[f"accuracy_{group}"] = _accuracy([right[utt] for utt in order if groups[utt] == group])
        left = len(right) - len(order)
        return Scored(found, per_utt, [f"{left} utterances of groups with one class are left out"] if left else [])


def split(line: str, separator: str) -> list[str]:
    """The classes of a label, runs of spaces as one."""
    return [" ".join(part.split()) for part in (line.split(separator) if separator else [line])]


def _accuracy(right: list[bool]) -> dict:
    value = mean_interval(np.array(right, dtype=float))
    return metric(*(100 * v for v in value), n=len(right), unit="%", better="higher")
