"""Features of any layer of any upstream: computed batch by batch, or kept in ark files and read when asked for.

The cache is CACHE/UPSTREAM/PART/layerN/feats.scp; in layerN.mean lie the means over each utterance. UPSTREAM ends in a
digest of all that made the features (the checkpoint's bytes, or settings and statistics of plain features) and PART in
one of the dump that they were made from, so what is found there is always right, whoever wrote it. An ark is computed by
one job whole and which utterances are in it depends on the data alone, so neither the number of jobs nor an interruption
changes a bit.
"""

import hashlib
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from speechrep.bundles import is_bundle
from speechrep.data.ark import ArkWriter, read_scp
from speechrep.data.dataset import SpeechDataset, collate, take_inventory, to_device
from speechrep.data.dump import MAX_ARK_SEC, MIN_ARK_SEC, MIN_ARKS
from speechrep.data.folder import DataFolder, split, write_table
from speechrep.data.standardise import Statistics, statistics
from speechrep.errors import SpeechrepError
from speechrep.files import alone_in, read_json, write_json
from speechrep.launch import advance, run_jobs
from speechrep.methods.base import Batch
from speechrep.nn.device import find_device
from speechrep.released import is_released
from speechrep.upstream import FEATURES, MEAN_OF, Upstream, source_of

MOST_AT_ONCE = 40
"""Utterances in a batch, at the most."""
MEAN = ".mean"
"""What the folder of a layer's means ends in."""


def open_upstream(spec: str, train: DataFolder, dump: Path, device: str = "cpu") -> Upstream:
    """The upstream `spec` on `device`, as `find_device` means it. Plain features take their statistics from the training
    part's dump, and a released model hears the samples that go with the log-mel features there."""
    source = source_of(spec)
    kind = source if source in FEATURES else "logmel" if is_released(source) or is_bundle(source) else None
    features = take_inventory(train, dump / kind / train.path.name) if kind else None
    return Upstream.open(spec, features, find_device(device))


def open_dataset(upstream: Upstream, folder: DataFolder, dump: Path) -> SpeechDataset:
    """All utterances of `folder` that the dump has, whatever their length."""
    return SpeechDataset(folder, dump / upstream.kind / folder.path.name, upstream.inventory, upstream.needs,
                         max_sec=math.inf, min_sec=0.0)


def batches(upstream: Upstream, dataset: SpeechDataset, utts: list[str], batch_sec: float = 200.0) -> Iterator[Batch]:
    """`utts` in batches of similar length, on the upstream's device; the longest come first."""
    place = {utt: i for i, utt in enumerate(dataset.utts)}
    order = sorted((place[utt] for utt in utts), key=lambda i: (-dataset.seconds[i], i))
    start = 0
    while start < len(order):
        size = min(MOST_AT_ONCE, max(1, int(batch_sec / dataset.seconds[order[start]])))
        yield to_device(collate([dataset[i] for i in order[start:start + size]]), upstream.mean.device)
        start += size


@torch.no_grad()
def layer_features(upstream: Upstream, dataset: SpeechDataset, utts: list[str],
                   layers: list[int]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Utterance and its features [N, D] of each of `layers`, in no promised order."""
    for batch in batches(upstream, dataset, utts):
        outputs, lengths = upstream.layers(batch)
        chosen = [outputs[layer].float().cpu().numpy() for layer in layers]
        for row, (utt, length) in enumerate(zip(batch["utts"], lengths.tolist())):
            yield utt, [output[row, :length] for output in chosen]


def layer_number(upstream: Upstream, layer: int) -> int:
    """`layer` counted from 0; -1 is the last."""
    count = len(upstream.dims)
    if not -count <= layer < count:
        raise SpeechrepError(f"layer {layer} of {upstream.spec}", f"a number from 0 to {count - 1}, or -1 for the last")
    return layer % count


def fingerprint(spec: str, train: DataFolder, dump: Path) -> str:
    """A digest of what makes the features of `spec`: 12 hexadecimal digits."""
    source = source_of(spec)
    digest = hashlib.sha256(spec.removesuffix(source).removesuffix(":").encode())
    if is_bundle(source):
        # Released weights do not change under their name.
        digest.update(source.encode())
        files = []
    elif source in FEATURES:
        part = dump / source / train.path.name
        files = [part / "feats.yaml", part / "cmvn.npz"]
    else:
        path = Path(source)
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        try:
            with open(file, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except FileNotFoundError:
            raise SpeechrepError(f"{file}: no such file", f"what the upstream {spec} is made of",
                                 "check the path, or run the earlier stages") from None
    return digest.hexdigest()[:12]


def upstream_folder(cache: Path, spec: str, train: DataFolder, dump: Path) -> Path:
    """Where all features of an upstream are kept."""
    path = Path(source_of(spec))
    name = path.parent.name if path.suffix == ".pt" else path.name
    return cache / f"{'mean-' * spec.startswith(MEAN_OF)}{name}-{fingerprint(spec, train, dump)}"


def layer_folder(cache: Path, upstream: Upstream, folder: DataFolder, train: DataFolder, dump: Path, layer: int,
                 mean: bool = False) -> Path:
    """Where the features of a layer are kept, or their means."""
    source = dump / upstream.kind / folder.path.name
    # A dump made elsewhere has no digest of its own.
    made_from = source / ("source" if (source / "source").is_file() else "feats.scp")
    speakers = [folder.path / "utt2spk"] if upstream.knows_speakers else []
    part = hashlib.sha256(b"".join(path.read_bytes() for path in (made_from, *speakers))).hexdigest()[:8] \
        if made_from.is_file() else "none"
    kept = upstream_folder(cache, upstream.spec, train, dump) / f"{folder.path.name}-{part}"
    return kept / f"layer{layer}{MEAN if mean else ''}"


class NormalisedFeatures(Mapping[str, np.ndarray]):
    """Utterance -> plain features [N, D] as the upstream gives them, from the dump, where they are already."""

    def __init__(self, upstream: Upstream, folder: DataFolder, dump: Path):
        self._feats = read_scp(dump / upstream.kind / folder.path.name / "feats.scp")
        self._mean, self._std = upstream.mean.cpu().numpy(), upstream.std.cpu().numpy()

    def __getitem__(self, utt: str) -> np.ndarray:
        return (self._feats[utt] - self._mean) / self._std

    def __iter__(self) -> Iterator[str]:
        return iter(self._feats)

    def __len__(self) -> int:
        return len(self._feats)


class Means(Mapping[str, np.ndarray]):
    """Utterance -> the mean over its frames [1, D], worked out when first asked for."""

    def __init__(self, frames: Mapping[str, np.ndarray]):
        self._frames, self._found = frames, dict[str, np.ndarray]()

    def __getitem__(self, utt: str) -> np.ndarray:
        if utt not in self._found:
            self._found[utt] = mean_of(self._frames[utt])
        return self._found[utt]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


class Standardised(Mapping[str, np.ndarray]):
    """Utterance -> features [N, D], each dimension less its mean and over its deviation within the utterance's group, which
    takes out much of what tells voices and rooms (van Niekerk et al. 2021, arXiv 2108.00917).

    groups: utterance -> group, such as its speaker; an utterance without one stands alone. What a group's frames are like is
    worked out when first asked for, from one utterance after another.
    """

    def __init__(self, frames: Mapping[str, np.ndarray], groups: Mapping[str, str]):
        self._frames, self._group, self._members = frames, dict(groups), dict[str, list[str]]()
        for utt in frames:
            if utt in self._group:
                self._members.setdefault(self._group[utt], []).append(utt)
        self._found = dict[str, Statistics]()

    def __getitem__(self, utt: str) -> np.ndarray:
        frames, group = self._frames[utt], self._group.get(utt)
        if not len(frames):
            return frames
        if group is None:
            mean, std = self._statistics([utt])
        else:
            if group not in self._found:
                self._found[group] = self._statistics(self._members[group])
            mean, std = self._found[group]
        return ((frames - mean) / std).astype(np.float32)

    def _statistics(self, utts: Sequence[str]) -> Statistics:
        return statistics(self._frames[utt] for utt in utts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


def mean_of(frames: np.ndarray) -> np.ndarray:
    """[N, D] -> [1, D]; of no frames, zeros."""
    if not len(frames):
        return np.zeros((1, frames.shape[1]), dtype=np.float32)
    return frames.mean(0, keepdims=True, dtype=np.float64).astype(np.float32)


def extract(spec: str, folder: DataFolder, train: DataFolder, dump: Path, cache: Path, layers: list[int], nj: int = 1,
            device: str = "cpu", backend: str | None = None, mean: bool = False) -> dict[int, Mapping[str, np.ndarray]]:
    """Utterance -> features [N, D] of each of `layers` (from 0, or negative from the last), by the numbers given; with
    `mean` their mean over the utterance [1, D], which needs a hundredth of the disk.

    What the cache lacks is computed by `nj` jobs at a time; what an interrupted call finished is kept. Plain features
    come straight from their dump. `train` is where plain features have their statistics from.
    """
    upstream = open_upstream(spec, train, dump)
    numbers = {layer: layer_number(upstream, layer) for layer in layers}
    if spec in FEATURES:
        plain = NormalisedFeatures(upstream, folder, dump)
        return dict.fromkeys(layers, Means(plain) if mean else plain)
    places = {number: layer_folder(cache, upstream, folder, train, dump, number, mean)
              for number in numbers.values()}
    if not all((place / "feats.scp").is_file() for place in places.values()):
        # Who comes second finds what the first has made.
        with alone_in(next(iter(places.values())).parent, math.inf):
            _fill(spec, upstream, folder, train, dump, cache, places, nj, device, backend, mean)
    return {layer: read_scp(places[number] / "feats.scp") for layer, number in numbers.items()}


def _fill(spec: str, upstream: Upstream, folder: DataFolder, train: DataFolder, dump: Path, cache: Path,
          places: dict[int, Path], nj: int, device: str, backend: str | None, mean: bool) -> None:
    missing = {number: str(place) for number, place in places.items() if not (place / "feats.scp").is_file()}
    if not missing:
        return
    dataset = open_dataset(upstream, folder, dump)
    seconds = float(dataset.seconds.sum())
    count = min(math.ceil(seconds / min(MAX_ARK_SEC, max(MIN_ARK_SEC, seconds / MIN_ARKS))), len(dataset))
    size, free = bytes_of(upstream, dataset, list(missing), mean), free_bytes(cache)
    print(f"{cache}: {len(missing)} layer(s) of {len(dataset)} utterances: {size / 1e6:,.1f} MB ({free / 1e9:,.1f} GB free)",
          file=sys.stderr)
    if size > free:
        raise SpeechrepError(f"{cache}: {free / 1e6:,.1f} MB of disk are free", f"{size / 1e6:,.1f} MB",
                             "free some space, extract fewer layers, or name a folder on another disk")
    jobs = [(spec, str(folder.path), str(train.path), str(dump), missing, part, count, device, mean)
            for part in split(list(range(1, count + 1)), nj)]
    log_dir = next(iter(places.values())).parent / "log"
    run_jobs(extract_arks, jobs, log_dir=log_dir, nj=nj, title=f"extract {folder.path.name}", backend=backend)
    for place in map(Path, missing.values()):
        parts = [read_json(place / f"feats.{number}.json") for number in range(1, count + 1)]
        frames = {utt: str(count) for part in parts for utt, count in part["num_frames"].items()}
        write_table(place / "utt2num_frames", frames)
        write_table(place / "feats.scp", {utt: at for part in parts for utt, at in part["places"].items()})
        for part in place.glob("feats.*.json"):
            part.unlink()


def extract_arks(spec: str, data: str, train: str, dump: str, places: dict[int, str], numbers: list[int], count: int,
                 device: str, mean: bool) -> None:
    """One job: those of the `count` arks that have these numbers (from 1) and are not there yet, for each layer."""
    folder = DataFolder(data)
    upstream = open_upstream(spec, DataFolder(train), Path(dump), device)
    dataset = open_dataset(upstream, folder, Path(dump))
    arks = split(dataset.utts, count)
    for done, number in enumerate(numbers):
        layers = [layer for layer, place in places.items() if not (Path(place) / f"feats.{number}.json").exists()]
        if layers:
            writers = [ArkWriter(places[layer], f"feats.{number}", scp=False) for layer in layers]
            with ExitStack() as stack:
                for writer in writers:
                    stack.enter_context(writer)
                kept = [Path(places[layer].removesuffix(MEAN)) / "feats.scp" for layer in layers]
                if mean and all(path.is_file() for path in kept):
                    frames = [read_scp(path) for path in kept]
                    found = ((utt, [table[utt] for table in frames]) for utt in arks[number - 1])
                else:
                    found = layer_features(upstream, dataset, arks[number - 1], layers)
                for utt, outputs in found:
                    for writer, output in zip(writers, outputs):
                        writer.write(utt, mean_of(output) if mean else output)
            for layer, writer in zip(layers, writers):
                write_json(Path(places[layer]) / f"feats.{number}.json",
                           {"places": writer.places, "num_frames": writer.num_frames})
        advance(done + 1, len(numbers))


def bytes_of(upstream: Upstream, dataset: SpeechDataset, layers: list[int], mean: bool) -> float:
    """What the features of `layers`, or their means, take on disk."""
    rows = len(dataset) if mean or upstream.utterance_level else \
        float(dataset.seconds.sum()) * upstream.rate_hz / upstream.hop_samples
    return rows * sum(upstream.dims[number] for number in layers) * 4


def free_bytes(place: Path) -> int:
    """Of the disk on which a folder is, or is going to be."""
    return shutil.disk_usage(next(path for path in (place, *place.resolve().parents) if path.exists())).free
