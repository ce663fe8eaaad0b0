"""A frozen upstream whose layers were computed once, are kept, and serve all tasks.

Where they would take too much of the disk, as of a large model on hundreds of hours, the upstream is heard at every step.
Of a task whose head sees nothing but each utterance's mean (`BaseTask.pools`) only the means are kept and read: a step
then costs next to nothing, and a corpus of a thousand hours needs gigabytes in place of terabytes.
"""

import math
import sys
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
from speechrep.extract import bytes_of, extract, fingerprint, free_bytes, layer_folder, open_dataset
from speechrep.tasks.base import BaseTask, chosen_layers
from speechrep.upstream import FEATURES, Upstream


LARGEST_SHARE = 0.5
"""Of the disk's free space that the layers of one part may take."""


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


@dataclass(frozen=True)
class Hearer:
    """A task `cls` with `config` on `upstream`, made or not yet."""

    upstream: Upstream
    cls: type[BaseTask]
    config: Any

    @classmethod
    def of(cls, task: BaseTask) -> "Hearer":
        return cls(task.upstream, type(task), task.config)

    @property
    def layers(self) -> list[int]:
        """The numbers of those that it sees."""
        return chosen_layers(self.upstream, self.config.layer)

    @property
    def pools(self) -> bool:
        """Whether its head needs no more than each utterance's mean."""
        return self.cls.pools_of(self.config)

    @property
    def served(self) -> bool:
        """Whether a cache is of use: the upstream is frozen, and what the head sees is not in the dump itself."""
        return not self.config.finetune and (self.pools or self.upstream.spec not in FEATURES)


def fill(cache: Cache, hearer: Hearer, part: DataFolder) -> list[Mapping[str, np.ndarray]]:
    """The layers of `part` that a task sees: utterance -> features [N, D], or [1, D] of a task that pools. They are kept
    under a digest of all that made them (see `speechrep.extract`); what is not there yet is computed."""
    layers = extract(hearer.upstream.spec, part, cache.train, cache.dump, cache.place, hearer.layers, device=cache.device,
                     mean=hearer.pools)
    return [layers[number] for number in hearer.layers]


def has(cache: Cache, hearer: Hearer, part: DataFolder) -> bool:
    """Whether the layers of `part` that a task sees are kept."""
    upstream = hearer.upstream
    return upstream.spec in FEATURES or all(
        (layer_folder(cache.place, upstream, part, cache.train, cache.dump, number, hearer.pools) / "feats.scp").is_file()
        for number in hearer.layers)


def has_room(cache: Cache, hearer: Hearer, part: DataFolder) -> bool:
    """Whether the layers of `part` that a task sees are kept or may be; says so on stderr if they are too large."""
    if has(cache, hearer, part):
        return True
    dataset = open_dataset(hearer.upstream, part, cache.dump)
    size, free = bytes_of(hearer.upstream, dataset, hearer.layers, hearer.pools), free_bytes(cache.place)
    if size <= LARGEST_SHARE * free:
        return True
    print(f"{cache.place}: the layers of {part.path} would take {size / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free; they are "
          "not kept but computed at every step", file=sys.stderr)
    return False


def open_part(task: BaseTask, folder: DataFolder, feats: Path, needs: tuple[str, ...], *arguments, cache: Cache | None,
              **named) -> SpeechDataset:
    """`folder` as `task` hears it, with the streams `needs` beside what its upstream hears: from `cache`, or, where that
    is None, of no use or too small, to be computed at each step. The rest as of `SpeechDataset`."""
    hearer = Hearer.of(task)
    if cache is None or not hearer.served or not has_room(cache, hearer, folder):
        return SpeechDataset(folder, feats, task.inventory, (*task.upstream.needs, *needs), *arguments, **named)
    return CachedLayers(fill(cache, hearer, folder), folder, feats, task.inventory, needs, *arguments, **named)


def opener(cache: Cache | None) -> Callable[..., SpeechDataset]:
    """What `speechrep.train.pretrain.conduct` may open the parts of a task with. Of a part of which only some utterances
    are labelled the others are left out: a task learns from labels alone."""

    def opened(task: BaseTask, part: str, folder: DataFolder, feats: Path, inventory, needs: tuple[str, ...], *arguments,
               labelled: frozenset[str] | None = None, **named) -> SpeechDataset:
        return open_part(task, folder, feats, needs[len(task.upstream.needs):], *arguments, cache=cache,
                         only=in_both(task.chosen_utts(task.config, folder, part), labelled), **named)

    return opened


def in_both(some: frozenset[str] | None, others: frozenset[str] | None) -> frozenset[str] | None:
    """The utterances that are in either of two choices, of which None is that of all."""
    return others if some is None else some if others is None else some & others


def whole_part(task: BaseTask, folder: DataFolder, dump: Path, needs: tuple[str, ...], cache: Cache | None,
               only: frozenset[str] | None = None) -> SpeechDataset:
    """All utterances of `folder`, whatever their length, or `only` some, to decode them; `needs` and `cache` as of
    `open_part`. For some of them the cache is read where it has the part, and not filled with the rest."""
    if cache is not None and only is not None and not has(cache, Hearer.of(task), folder):
        cache = None
    return open_part(task, folder, dump / task.upstream.kind / folder.path.name, needs, cache=cache, max_sec=math.inf,
                     min_sec=0.0, only=only)


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
