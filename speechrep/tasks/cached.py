"""Training on a frozen upstream whose layers were computed once and are kept for all tasks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechrep.data.batches import Key
from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder
from speechrep.extract import extract
from speechrep.tasks.base import BaseTask, chosen_layers
from speechrep.upstream import FEATURES, Upstream


class CachedLayers(SpeechDataset):
    """Utterances with `layers` [N, L, D] in place of what the upstream hears; otherwise as `SpeechDataset`."""

    def __init__(self, layers: list[Mapping[str, np.ndarray]], *arguments, **named):
        super().__init__(*arguments, **named)
        self.layers = layers

    def __getitem__(self, key: int | Key) -> dict:
        item = super().__getitem__(key)
        item["layers"] = torch.from_numpy(np.stack([layer[item["utt"]] for layer in self.layers], 1))
        return item


def serves(spec: str, config: Any) -> bool:
    """Whether a cache is of use: the upstream is frozen, and it is not the dump itself."""
    return not config.finetune and spec not in FEATURES


def fill(spec: str, upstream: Upstream, config: Any, parts: list[DataFolder], train: DataFolder, dump: Path,
         cache: Path, device: str = "cpu") -> list[list[Mapping[str, np.ndarray]]]:
    """The layers that a task with `config` sees, for each of `parts`: utterance -> features [N, D]. They are kept in
    `cache` under a digest of all that made them (see `speechrep.extract`); what is not there yet is computed."""
    chosen = chosen_layers(upstream, config.layer)
    found = [extract(spec, part, train, dump, cache, chosen, device=device) for part in parts]
    return [[layers[number] for number in chosen] for layers in found]


def opener(spec: str, train: DataFolder, dump: Path, cache: Path) -> Callable[..., SpeechDataset]:
    """What `speechrep.train.pretrain.conduct` may open the parts of a task with."""

    def opened(task: BaseTask, part: str, folder: DataFolder, feats: Path, inventory, needs: tuple[str, ...], *arguments,
               **named) -> SpeechDataset:
        layers = fill(spec, task.upstream, task.config, [folder], train, dump, cache)[0]
        return CachedLayers(layers, folder, feats, inventory, needs[len(task.upstream.needs):], *arguments,
                            only=task.chosen_utts(task.config, folder, part), **named)

    return opened


def computed(task: BaseTask, part: str, folder: DataFolder, *arguments, **named) -> SpeechDataset:
    """The same where the upstream is heard at each step."""
    return SpeechDataset(folder, *arguments, only=task.chosen_utts(task.config, folder, part), **named)
