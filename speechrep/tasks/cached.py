"""Training on a frozen upstream whose layers were computed once and are kept for all tasks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from speechrep.data.batches import Key
from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder
from speechrep.extract import extract
from speechrep.tasks.base import BaseTask
from speechrep.upstream import FEATURES


class CachedLayers(SpeechDataset):
    """Utterances with `layers` [N, L, D] in place of what the upstream hears; otherwise as `SpeechDataset`."""

    def __init__(self, layers: list[Mapping[str, np.ndarray]], *arguments, **named):
        super().__init__(*arguments, **named)
        self.layers = layers

    def __getitem__(self, key: int | Key) -> dict:
        item = super().__getitem__(key)
        item["layers"] = torch.from_numpy(np.stack([layer[item["utt"]] for layer in self.layers], 1))
        return item


class Opener:
    """Opens datasets for a task on a frozen upstream, layers read from `cache`, where `extract` keeps them under a digest
    of all that made them; what is not there yet is computed. A task that fine-tunes hears its upstream's own stream, and
    plain features are in their dump already."""

    def __init__(self, spec: str, train: DataFolder, dump: Path, cache: Path | None, device: str = "cpu"):
        self.spec, self.train, self.dump, self.cache, self.device = spec, train, dump, cache, device
        self.task: BaseTask | None = None

    def __call__(self, folder: DataFolder, dump: Path, inventory, needs: tuple[str, ...], *arguments,
                 **named) -> SpeechDataset:
        """With the arguments of `SpeechDataset`; `task` must be set before."""
        if self.cache is None or self.task.config.finetune or self.spec in FEATURES:
            return SpeechDataset(folder, dump, inventory, needs, *arguments, **named)
        found = extract(self.spec, folder, self.train, self.dump, self.cache, self.task.chosen, device=self.device)
        own = needs[len(self.task.upstream.needs):]
        return CachedLayers([found[layer] for layer in self.task.chosen], folder, dump, inventory, own, *arguments,
                            **named)
