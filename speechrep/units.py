"""Discrete units: k-means over any layer of any upstream, or the codes of a method that has its own, as the stream
`units.NAME` of data folders.

EXP/units.yaml and EXP/codebook.npz hold the codebook, fit on the training part alone; EXP/PART/score.json what its
units have to do with the phones of a part. A part is finished when that file is there, of this codebook.
"""

import hashlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from speechrep.config import plain, read_yaml, write_yaml
from speechrep.data.ark import read_scp
from speechrep.data.folder import DataFolder, split
from speechrep.errors import SpeechrepError
from speechrep.extract import (Standardised, batches, extract, fingerprint, layer_features, layer_folder, layer_number,
                               mean_of, open_dataset, open_upstream)
from speechrep.files import atomic_path, write_text
from speechrep.launch import advance, run_jobs
from speechrep.metrics.score import read_score
from speechrep.nn import kmeans
from speechrep.nn.device import find_device
from speechrep.unit_counts import Counter, Counts, score_units
from speechrep.upstream import FEATURES, Upstream

RADIX = 2 ** 15
"""More codes than a group has: several groups' codes are written as one number in this base."""


@dataclass(frozen=True)
class UnitsConfig:
    """How units are made."""

    clusters: int = 100
    """Units of k-means; of a method's own codes (several groups joined), how many of the most frequent are kept apart,
    the rest being one unit more; 0 keeps all."""
    layer: int | None = None
    """Layer of the upstream, counted from 0, or from the end if negative. Where not given: the method's own codes if it
    has any, else the last layer."""
    standardise: bool = False
    """Plain features with mean 0 and deviation 1 over the training part; HuBERT clusters MFCC as they are. Standardised, the
    deltas, which are most of the dimensions, weigh as much as the rest: clusters say less of phones, and less of level,
    voice and room too, which tells apart what several corpora hold."""
    centre: bool = False
    """Features less their mean over the utterance, and with it much of the voice, the room and, where there are several,
    the language (van Niekerk et al., arXiv 2108.00917, of CPC's features): clusters else go by these too."""
    standardise_by: Literal["utterance", "speaker"] | None = None
    """Features of mean 0 and deviation 1 within each utterance or, of a part, each speaker, in place of `centre`."""
    algorithm: Literal["minibatch", "full"] = "minibatch"
    """Mini-batches over shuffled passes, or Lloyd's algorithm until it stands still."""
    inits: int = 3
    """Beginnings by k-means++, of which the best on a sample goes on."""
    passes: int = 0
    """Passes over the training part; 0 takes 2 for mini-batches and 100 at the most for the full algorithm."""
    batch_frames: int = 10_000
    """Frames of a mini-batch."""
    sample_frames: int = 0
    """Frames of the sample that is begun on; 0 takes 256 a cluster, 50,000 at the least."""
    share: float = 1.0
    """Share of the training utterances that the codebook is fit on, drawn evenly; HuBERT takes a tenth of 960 hours."""
    buffer_mb: int = 256
    """Megabytes of features that are shuffled together; a part that fits is read only once."""
    seed: int = 0
    """Seed of all that is drawn."""

    def __post_init__(self):
        if self.clusters < 0 or min(self.inits, self.batch_frames, self.buffer_mb) < 1 or not 0 < self.share <= 1:
            raise ValueError("clusters must be 0 or more; inits, batch_frames, buffer_mb at least 1; share in (0, 1]")
        if self.centre and self.standardise_by:
            raise ValueError("one of centre and standardise_by, not both")


def make_units(name: str, spec: str, config: UnitsConfig, train_path: Path, parts: list[Path], dump: Path, exp: Path,
               cache: Path, nj: int = 1, device: str = "auto", clean: bool = False, backend: str | None = None) -> None:
    """Fit a codebook on the training part, where that is not done, and write `units.NAME` into it and into `parts`.

    What is finished is left alone. Raises `SpeechrepError` if `exp` holds another codebook. `clean` removes the
    features that were extracted for it.
    """
    train = DataFolder(train_path)
    upstream = open_upstream(spec, train, dump)
    resolved = _resolve(name, spec, config, upstream, train, dump)
    ours = []
    if resolved["layer"] is not None and spec not in FEATURES:
        places = {path: layer_folder(cache, upstream, DataFolder(path), train, dump, resolved["layer"])
                  for path in [train_path, *parts]}
        # Another's features of a part that is only labelled stay.
        ours = [place for path, place in places.items() if path == train_path or not (place / "feats.scp").is_file()]
    book, found = exp / "codebook.npz", exp / "units.yaml"
    # Settings that came later are at their defaults in a codebook of before.
    if found.is_file() and plain(UnitsConfig()) | read_yaml(found) != resolved and book.is_file():
        raise SpeechrepError(f"{exp}: the codebook of other settings or another upstream",
                             cure="choose another --name or --exp, or remove the folder")
    if not book.is_file():
        write_yaml(found, resolved)
        _fit(book, resolved, config, spec, train, dump, cache, nj, device, backend)
    for path in dict.fromkeys([train_path, *parts]):
        _apply(name, resolved, DataFolder(path), train, dump, exp, cache, nj, device, backend)
    if clean:
        for used in ours:
            shutil.rmtree(used, ignore_errors=True)


def _resolve(name: str, spec: str, config: UnitsConfig, upstream: Upstream, train: DataFolder,
             dump: Path) -> dict[str, Any]:
    own = config.layer is None and hasattr(upstream.method, "units")
    if not own and config.clusters < 1:
        raise SpeechrepError(f"clusters: {config.clusters} for k-means", "at least 1")
    layer = None if own else layer_number(upstream, -1 if config.layer is None else config.layer)
    return {"name": name, "upstream": spec, "fingerprint": fingerprint(spec, train, dump), "train": train.path.name,
            "frame_rate_hz": upstream.rate_hz / upstream.hop_samples, "hop_samples": upstream.hop_samples,
            "rate_hz": upstream.rate_hz, **plain(config), "layer": layer, "method_codes": own}


# The codebook


class FeatureStream:
    """The frames of many utterances as the passes that `kmeans.fit` wants.

    Utterances are read in a new random order in each pass and shuffled frame by frame within a buffer; memory is that
    buffer, however long the utterances are together. If all fits it, it is read once.
    """

    def __init__(self, features: Mapping[str, np.ndarray], utts: list[str], buffer_mb: int, seed: int,
                 chunk_frames: int = 8192):
        self.features, self.utts, self.seed, self.chunk_frames = features, utts, seed, chunk_frames
        self.room = buffer_mb * 2 ** 20
        self.held: torch.Tensor | None = None

    def __call__(self, number: int) -> Iterator[torch.Tensor]:
        if self.held is not None:
            yield from self._shuffled(self.held, number)
            return
        order = list(self.utts)
        if number >= 0:
            np.random.default_rng((self.seed, number)).shuffle(order)
        waiting, size, whole = [], 0, True
        for utt in order:
            waiting.append(torch.from_numpy(np.array(self.features[utt], dtype=np.float32)))
            size += waiting[-1].nbytes
            # Joining and shuffling hold the frames twice.
            if 2 * size >= self.room:
                yield from self._shuffled(torch.cat(waiting), number)
                waiting, size, whole = [], 0, False
        if waiting:
            last = torch.cat(waiting)
            waiting = []
            if whole:
                self.held = last
            yield from self._shuffled(last, number)

    def _shuffled(self, frames: torch.Tensor, number: int) -> Iterator[torch.Tensor]:
        if number < 0:
            yield from frames.split(self.chunk_frames)
            return
        generator = torch.Generator().manual_seed(hash((self.seed, number, len(frames))) % 2 ** 63)
        order = torch.randperm(len(frames), generator=generator)
        for some in order.split(self.chunk_frames):
            yield frames[some]


def _fit(book: Path, resolved: dict[str, Any], config: UnitsConfig, spec: str, train: DataFolder, dump: Path,
         cache: Path, nj: int, device: str, backend: str | None) -> None:
    if resolved["method_codes"]:
        upstream = open_upstream(spec, train, dump)
        utts = open_dataset(upstream, train, dump).utts
        jobs = [(spec, str(train.path), str(dump), part, device) for part in split(utts, nj)]
        counted: dict[int, int] = {}
        for part in run_jobs(count_codes, jobs, log_dir=book.parent / "log", nj=nj, title="count codes",
                             backend=backend):
            for code, count in part.items():
                counted[code] = counted.get(code, 0) + count
        known = sorted(counted, key=lambda code: (-counted[code], code))[:config.clusters or None]
        arrays = {"codes": np.array(known, dtype=np.int64)}
    else:
        layer = resolved["layer"]
        features = _features(resolved, train, train, dump, cache, nj, device, backend)
        utts = list(features)
        order = np.random.default_rng(config.seed).permutation(len(utts))
        chosen = sorted(order[:max(1, round(config.share * len(utts)))])
        stream = FeatureStream(features, [utts[i] for i in chosen], config.buffer_mb, config.seed)
        try:
            fitted = kmeans.fit(stream, config.clusters, algorithm=config.algorithm, inits=config.inits,
                                sample_frames=config.sample_frames, batch_frames=config.batch_frames,
                                passes=config.passes, seed=config.seed, device=find_device(device))
        except ValueError as error:
            raise SpeechrepError(f"{train.path}: {error}", "more frames than clusters",
                                 "ask for fewer clusters") from None
        print(f"{book.parent}: {config.clusters} clusters of {len(chosen)} utterances, mean squared distance "
              f"{fitted.inertia:.4f} after {fitted.frames_seen:,} frames", file=sys.stderr)
        arrays = {"centroids": fitted.centroids.numpy()}
    with atomic_path(book) as tmp:
        np.savez(tmp, **arrays)


class Centred(Mapping[str, np.ndarray]):
    """Utterance -> features [N, D] less their mean over the utterance."""

    def __init__(self, features: Mapping[str, np.ndarray]):
        self._features = features

    def __getitem__(self, utt: str) -> np.ndarray:
        return centred(self._features[utt])

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)


def centred(frames: np.ndarray) -> np.ndarray:
    """[N, D] less the mean over N."""
    return frames - mean_of(frames)


def _features(resolved: dict[str, Any], folder: DataFolder, train: DataFolder, dump: Path, cache: Path, nj: int = 1,
              device: str = "cpu", backend: str | None = None) -> Mapping[str, np.ndarray]:
    """Utterance -> what is clustered [N, D]."""
    spec, layer = resolved["upstream"], resolved["layer"]
    features = read_scp(dump / spec / folder.path.name / "feats.scp") if spec in FEATURES and not resolved["standardise"] \
        else extract(spec, folder, train, dump, cache, [layer], nj, device, backend)[layer]
    if by := resolved["standardise_by"]:
        return Standardised(features, folder.labels("utt2spk") if by == "speaker" else {})
    return Centred(features) if resolved["centre"] else features


def count_codes(spec: str, data: str, dump: str, utts: list[str], device: str) -> dict[int, int]:
    """One job: how often each of the method's own codes (groups joined) occurs in `utts` of the training part."""
    folder = DataFolder(data)
    upstream = open_upstream(spec, folder, Path(dump), device)
    counted: dict[int, int] = {}
    for _, codes in method_codes(upstream, open_dataset(upstream, folder, Path(dump)), utts):
        for code, count in zip(*np.unique(codes, return_counts=True)):
            counted[int(code)] = counted.get(int(code), 0) + int(count)
    return counted


@torch.no_grad()
def method_codes(upstream: Upstream, dataset, utts: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Utterance and its own codes [N] of the upstream's method, whose `units(batch)` gives ids [B, N, G] (or [B, N])
    and lengths [B]; the groups are joined to one number."""
    for batch in batches(upstream, dataset, utts):
        ids, lengths = upstream.method.units(batch)
        ids = ids[..., None] if ids.ndim == 2 else ids
        joined = (ids * RADIX ** torch.arange(ids.shape[-1], device=ids.device)).sum(-1).cpu().numpy()
        for row, (utt, length) in enumerate(zip(batch["utts"], lengths.tolist())):
            yield utt, joined[row, :length]


# The units


def _apply(name: str, resolved: dict[str, Any], folder: DataFolder, train: DataFolder, dump: Path, exp: Path,
           cache: Path, nj: int, device: str, backend: str | None) -> None:
    digest = hashlib.sha256((exp / "codebook.npz").read_bytes()).hexdigest()[:12]
    out = exp / folder.path.name
    stream = f"units.{name}"
    spec = resolved["upstream"]
    upstream = open_upstream(spec, train, dump)
    utts = open_dataset(upstream, folder, dump).utts
    config = {"codebook": digest, "utterances": hashlib.sha256(" ".join(utts).encode()).hexdigest()[:12]}
    if (out / "score.json").is_file() and folder.has(stream) \
            and read_score(out / "score.json")["provenance"]["config"].get("made_of") == config:
        print(f"{folder.path}/{stream}: already there", file=sys.stderr)
        return
    if resolved["standardise_by"] and not resolved["method_codes"]:
        # A job has some of a speaker's utterances only: all are extracted before the first job.
        _features(resolved, folder, train, dump, cache, nj, device, backend)
    parts = split(utts, nj)
    jobs = [(resolved, str(exp / "codebook.npz"), str(folder.path), str(train.path), str(dump), str(cache), part,
             str(out / f"part.{number}"), device) for number, part in enumerate(parts, 1)]
    counted = run_jobs(label_part, jobs, log_dir=exp / "log", nj=nj, title=f"units {folder.path.name}", backend=backend)
    with atomic_path(folder.path / stream) as tmp:
        with open(tmp, "wb") as joined:
            # Parts are contiguous and in order, so the whole is sorted.
            for number in range(1, len(parts) + 1):
                with open(out / f"part.{number}", "rb") as part:
                    shutil.copyfileobj(part, joined)
    for part in out.glob("part.*"):
        part.unlink()
    score_units(out, name, resolved | {"made_of": config}, folder, counted)


def codebook_size(book: Path) -> int:
    """How many units there are: ids run from 0 to one less."""
    with np.load(book, allow_pickle=False) as arrays:
        return len(arrays["centroids"]) if "centroids" in arrays else len(arrays["codes"]) + 1


def label_part(resolved: dict[str, Any], book: str, data: str, train: str, dump: str, cache: str, utts: list[str],
               out: str, device: str) -> Counts:
    """One job: the units of `utts` as lines of the file `out`, and what was counted meanwhile."""
    folder = DataFolder(data)
    upstream = open_upstream(resolved["upstream"], DataFolder(train), Path(dump), device)
    counter = Counter(folder, codebook_size(Path(book)), upstream.hop_samples / upstream.rate_hz)
    lines = {}
    for done, (utt, ids, distance) in enumerate(_labelled(resolved, book, upstream, folder, Path(train), Path(dump),
                                                          Path(cache), utts, device)):
        counter.add(utt, ids, distance)
        lines[utt] = " ".join(map(str, ids.tolist()))
        advance(done + 1, len(utts))
    write_text(out, "".join(f"{utt} {lines[utt]}".rstrip() + "\n" for utt in sorted(lines)))
    return counter.counts


def _labelled(resolved: dict[str, Any], book: str, upstream: Upstream, folder: DataFolder, train: Path, dump: Path,
              cache: Path, utts: list[str], device: str) -> Iterator[tuple[str, np.ndarray, float]]:
    """Utterance, its units [N] and the sum of squared distances to their centroids."""
    dataset = open_dataset(upstream, folder, dump)
    with np.load(book, allow_pickle=False) as arrays:
        arrays = dict(arrays)
    if resolved["method_codes"]:
        order = np.argsort(arrays["codes"])
        known = arrays["codes"][order]
        for utt, codes in method_codes(upstream, dataset, utts):
            at = np.searchsorted(known, codes).clip(max=len(known) - 1)
            yield utt, np.where(known[at] == codes, order[at], len(known)), 0.0
        return
    device = find_device(device)
    centroids = torch.from_numpy(arrays["centroids"]).to(device)
    layer, spec = resolved["layer"], resolved["upstream"]
    kept = layer_folder(cache, upstream, folder, DataFolder(train), dump, layer)
    if spec in FEATURES or (kept / "feats.scp").is_file():
        features = _features(resolved, folder, DataFolder(train), dump, cache)
        found = ((utt, [features[utt]]) for utt in utts)
    else:
        found = ((utt, [centred(feats) if resolved["centre"] else feats])
                 for utt, (feats,) in layer_features(upstream, dataset, utts, [layer]))
    for utt, (feats,) in found:
        ids, distance = kmeans.nearest(torch.from_numpy(np.array(feats, dtype=np.float32)).to(device), centroids)
        yield utt, ids.cpu().numpy(), float(distance.double().sum())
