"""A frozen upstream whose layers were computed once, are kept, and serve all tasks.

Of a task whose head sees nothing but each utterance's mean (`BaseTask.pools`) only the means are kept and read: a step
then costs next to nothing, and a corpus of a thousand hours needs gigabytes in place of terabytes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechrep.config import read_yaml
from speechrep.data.batches import Key
from speechrep.data.dataset import SpeechDataset
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError
from speechrep.extract import extract, fingerprint, layer_folder
from speechrep.tasks.base import BaseTask, chosen_layers
from speechrep.upstream import FEATURES, Upstream


@dataclass(frozen=True)
class Cache:
    """Where layers are kept."""

    place: Path
    train: DataFolder
    """Where plain features have their statistics from."""
    dump: Path
    """Has a sub-folder for each kind of features, with a sub-folder for each part."""
    device: str = "cpu"
    """Where what is not there yet is computed."""


class CachedLayers(SpeechDataset):
    """Utterances with `layers` [N, L, D] in place of what the upstream hears; otherwise as `SpeechDataset`."""

    def __init__(self, layers: list[Mapping[str, np.ndarray]], *arguments, **named):
        super().__init__(*arguments, **named)
        self.layers = layers

    def __getitem__(self, key: int | Key) -> dict:
        item = super().__getitem__(key)
        item["layers"] = torch.from_numpy(np.stack([layer[item["utt"]] for layer in self.layers], 1))
        return item


def serves(spec: str, cls: type[BaseTask], config: Any) -> bool:
    """Whether a cache is of use to the task `cls`: the upstream is frozen, and what the head sees is not in the dump
    itself."""
    return not config.finetune and (cls.pools or spec not in FEATURES)


def fill(cache: Cache, spec: str, upstream: Upstream, cls: type[BaseTask], config: Any,
         part: DataFolder) -> list[Mapping[str, np.ndarray]]:
    """The layers of `part` that a task `cls` with `config` sees: utterance -> features [N, D], or [1, D] of a task that
    pools. They are kept under a digest of all that made them (see `speechrep.extract`); what is not there yet is
    computed."""
    chosen = chosen_layers(upstream, config.layer)
    layers = extract(spec, part, cache.train, cache.dump, cache.place, chosen, device=cache.device, mean=cls.pools)
    return [layers[number] for number in chosen]


def open_part(task: BaseTask, folder: DataFolder, feats: Path, needs: tuple[str, ...], *arguments, cache: Cache | None,
              **named) -> SpeechDataset:
    """`folder` as `task` hears it, with the streams `needs` beside what its upstream hears: from `cache`, or, where that
    is None or of no use, to be computed at each step. The rest as of `SpeechDataset`."""
    upstream = task.upstream
    if cache is None or not serves(upstream.spec, type(task), task.config):
        return SpeechDataset(folder, feats, task.inventory, (*upstream.needs, *needs), *arguments, **named)
    layers = fill(cache, upstream.spec, upstream, type(task), task.config, folder)
    return CachedLayers(layers, folder, feats, task.inventory, needs, *arguments, **named)


def opener(cache: Cache | None) -> Callable[..., SpeechDataset]:
    """What `speechrep.train.pretrain.conduct` may open the parts of a task with."""

    def opened(task: BaseTask, part: str, folder: DataFolder, feats: Path, inventory, needs: tuple[str, ...], *arguments,
               **named) -> SpeechDataset:
        return open_part(task, folder, feats, needs[len(task.upstream.needs):], *arguments, cache=cache,
                         only=task.chosen_utts(task.config, folder, part), **named)

    return opened


def whole_part(task: BaseTask, folder: DataFolder, dump: Path, needs: tuple[str, ...], cache: Cache | None,
               only: frozenset[str] | None = None) -> SpeechDataset:
    """All utterances of `folder`, whatever their length, or `only` some, to decode them; `needs` and `cache` as of
    `open_part`. For some of them the cache is read where it has the part, and not filled with the rest."""
    if cache is not None and only is not None and not has(cache, task, folder):
        cache = None
    return open_part(task, folder, dump / task.upstream.kind / folder.path.name, needs, cache=cache, max_sec=math.inf,
                     min_sec=0.0, only=only)


def has(cache: Cache, task: BaseTask, folder: DataFolder) -> bool:
    """Whether the layers of `folder` that `task` sees are kept."""
    spec, kind = task.upstream.spec, task.upstream.kind
    return spec in FEATURES or all(
        (layer_folder(cache.place, spec, folder, cache.train, cache.dump, kind, number, task.pools) / "feats.scp").is_file()
        for number in task.chosen)


def heard_by(checkpoint: Path, task: BaseTask, cache: Cache) -> bool:
    """Whether the upstream that `cache` has the layers of is the very one in a task's checkpoint: what its spec names now
    has the digest that the training noted. Of a checkpoint away from its run's folder that cannot be said."""
    run = checkpoint.parent / "config.yaml"
    try:
        return run.is_file() and read_yaml(run).get("upstream_digest") == fingerprint(task.upstream.spec, cache.train,
                                                                                      cache.dump)
    except SpeechrepError:
        # The upstream is gone; the task's checkpoint has its weights.
        return False
