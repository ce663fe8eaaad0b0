"""From a configuration and data folders to a trained method in an experiment folder."""

import random
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechrep.config import apply_overrides, build, plain, read_yaml, with_defaults, write_yaml
from speechrep.data.dataset import SpeechDataset, stream_file, streams_digest, take_inventory
from speechrep.data.folder import DataFolder, read_table
from speechrep.errors import SpeechrepError
from speechrep.files import alone_in, remove_leftovers, write_json
from speechrep.methods.base import Method, find_method
from speechrep.provenance import provenance
from speechrep.train import distributed
from speechrep.train.loop import ANOTHER_EXP, TrainConfig, fit


@dataclass(frozen=True)
class Experiment:
    """The YAML of a method, whole."""

    method: str
    """A file of speechrep/methods."""
    train: TrainConfig
    """How it is trained."""
    weights: dict[str, float]
    """The factor of each loss; exactly the names that the method's forward returns."""
    model: dict[str, Any] = field(default_factory=dict)
    """What the method's own Config says."""


def read_experiment(path: Path, overrides: list[str] | None = None) -> tuple[Experiment, Any]:
    """The experiment in a YAML and its method's config. Any mistake in it is a `SpeechrepError` that names the key."""
    experiment = build(Experiment, apply_overrides(read_yaml(path), overrides or []), str(path))
    return experiment, build(find_method(experiment.method).Config, experiment.model, f"{path}: model")


def pretrain(conf: Path, train_path: Path, dev_path: Path, dump: Path, exp: Path, seed: int = 0,
             device: str = "auto", overrides: list[str] | None = None, labelled: Path | None = None,
             start: Path | None = None, load_start: Callable[[Method, Path], None] | None = None) -> None:
    """Train the method that `conf` describes. `dump` has a sub-folder of features for each part; `labelled` lists the
    utterances of the training part whose phones may be used, one a line, where not all may (the best weights are chosen on
    all of dev); `load_start` puts the weights in `start` into the fresh method."""
    experiment, config = read_experiment(conf, overrides)

    def make() -> Method:
        train = DataFolder(train_path)
        method = find_method(experiment.method)(config, take_inventory(train, dump / train_path.name))
        if start is not None:
            load_start(method, start)
        return method

    resolved = plain(experiment) | {"model": plain(config)} | ({} if start is None else {"start": str(start)})
    conduct(experiment.method, resolved, config, experiment.train, experiment.weights, make,
            train_path, dev_path, dump, exp, seed, device, labelled,
            needs=find_method(experiment.method).needs_of(config))


def conduct(name: str, resolved: dict[str, Any], model: Any, config: TrainConfig, weights: dict[str, float],
            make: Callable[[], Method], train_path: Path, dev_path: Path, dump: Path, exp: Path, seed: int,
            device: str, labelled: Path | None = None,
            opened: Callable[..., SpeechDataset] | None = None,
            watch: Callable[[int, dict[str, float]], None] | None = None, needs: tuple[str, ...] = ()) -> None:
    """Make, train and record; leaves config.yaml, log.jsonl, last.pt, best.pt and, when finished, done.json in `exp`.

    A finished run of the same configuration and seed is left alone, one that was stopped goes on; of another, or while
    another process is at work on it, refused.
    model: the config of what is trained. opened: what opens a part, given the method, "train" or "dev", and then the
    arguments of `SpeechDataset`, where it is not that itself. watch: as of `speechrep.train.loop.fit`. needs: the streams of
    the data folders that are learned from; a run on others than there are now is refused too.
    """
    chosen = None if labelled is None else frozenset(read_table(labelled))
    if chosen is not None:
        unknown = sorted(chosen - set(DataFolder(train_path).utts))
        if unknown:
            raise SpeechrepError(f"{labelled}: {len(unknown)} utterances that {train_path} lacks, such as {unknown[0]}",
                                 "utterances of the training part", "make it with `speechrep subset`")
        resolved = resolved | {"labelled": str(labelled), "labelled_utterances": len(chosen)}
    resolved = resolved | {"seed": seed, "data_digest": streams_digest((DataFolder(train_path), DataFolder(dev_path)), needs)}
    if (exp / "last.pt").is_file() and (exp / "config.yaml").is_file():
        before = read_yaml(exp / "config.yaml")
        before |= {name: with_defaults(cls, before.get(name) or {})
                   for name, cls in (("train", type(config)), ("model", type(model)))}
        # An earlier version did not note them.
        before |= {name: before.get(name, resolved[name]) for name in ("upstream_digest", "data_digest") if name in resolved}
        if before["data_digest"] != resolved["data_digest"]:
            files = ", ".join(sorted({"utt2dur", *filter(None, map(stream_file, needs))}))
            raise SpeechrepError(f"{exp}: a run on other data: {files} in {train_path} or {dev_path} have changed since",
                                 cure=f"{ANOTHER_EXP}, or remove the folder")
        if differing := _differing(before, resolved):
            raise SpeechrepError(f"{exp}: a run of another configuration or seed ({differing})",
                                 cure=f"{ANOTHER_EXP}, or remove the folder")
    if (exp / "done.json").is_file():
        if distributed.speaks():
            print(f"{exp}: already trained")
        return
    world = distributed.start(device)
    torch.manual_seed(seed)
    method = make()
    folders = DataFolder(train_path), DataFolder(dev_path)
    opened = opened or _open
    datasets = [opened(method, part, folder, dump / folder.path.name, method.inventory, method.needs, seed, config.max_sec,
                       labelled=allowed, prompt_frames=method.prompt_frames)
                for part, folder, allowed in zip(("train", "dev"), folders, (chosen, None))]
    with alone_in(exp) if world.first else nullcontext():
        if world.first:
            remove_leftovers(exp)
            write_yaml(exp / "config.yaml", resolved)
            hours = [dataset.seconds.sum() / 3600 for dataset in datasets]
            print(f"{name}: {sum(p.numel() for p in method.parameters()) / 1e6:.2f} M parameters, "
                  f"{len(datasets[0])} utterances ({hours[0]:.2f} h) to train on, {len(datasets[1])} ({hours[1]:.2f} h) "
                  f"for dev, {datasets[0].left_out} and {datasets[1].left_out} left out (too long or short, or unaligned), "
                  f"{world.size} process(es) on {world.device.type}", flush=True)
        # Each process draws its own dropout.
        own = seed * 1000 + world.rank
        torch.manual_seed(own), np.random.seed(own % 2 ** 32), random.seed(own)
        trained = fit(name, method, weights, config, *datasets, exp, seed, world, watch)
        if world.first:
            data = {folder.path.name: {"utterances": len(dataset), "seconds": round(float(dataset.seconds.sum()), 2)}
                    for folder, dataset in zip(folders, datasets)}
            write_json(exp / "done.json", {
                "dev": trained.dev, "best": trained.best, "parameters": sum(p.numel() for p in method.parameters()),
                "train_sec": round(trained.seconds, 1), "provenance": provenance(sys.argv, resolved, seed, data)})
            print(f"{exp}: done; dev loss {trained.dev['loss']:.4f}, "
                  f"kept the weights of step {trained.best['step']} by {trained.best['by']}")
    distributed.finish(world)


def _open(method: Method, part: str, *arguments, labelled: frozenset[str] | None, **named) -> SpeechDataset:
    """A part as a method learns from it."""
    return SpeechDataset(*arguments, labelled=labelled, only=labelled if method.labels_only else None, **named)


def _differing(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str:
    """The first key whose values differ, with both; empty if none does."""
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            return _differing(old, new, f"{prefix}{key}.")
        return f"{prefix}{key} was {old}, is now {new}"
    return ""
