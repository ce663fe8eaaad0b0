"""K-means over more frames than memory holds: k-means++ on a sample, then mini-batches or Lloyd's passes over a stream.

What is measured to matter most is where it begins, so several beginnings are drawn by greedy k-means++ (Arthur and
Vassilvitskii 2007) and each is refined by Lloyd's algorithm on a sample that fits in memory; the best goes on over the
stream. Mini-batches follow Sculley (WWW 2010): each centroid moves towards the mean of what a batch gave it by the
share of this batch among all that it has been given, and that memory is halved at the end of each pass.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

Stream = Callable[[int], Iterator[torch.Tensor]]
"""The frames of pass number i in chunks [n, D] of any size: shuffled anew in passes from 0, in any order in pass -1."""

ROWS = 2048
"""Frames whose distances to all centroids are held at a time on a CPU: they stay in its cache."""
ROWS_GPU = 65536
"""The same on a GPU, which wants fewer and larger kernels."""
INIT_FRAMES = 20_000
"""Frames among which k-means++ chooses, at the most, and on which a beginning is first refined."""
INIT_PASSES = 5
"""Lloyd's passes over those frames, and then of the best beginning over the sample."""
DEAD_SHARE = 0.01
"""A centroid that is given less than this share of the mean cluster is moved to a far frame, in mini-batches."""


@dataclass(frozen=True)
class Fit:
    """Centroids [K, D] in float32 on the CPU, the mean squared distance of a frame to its centroid, and the frames of
    each cluster [K], both over the last pass (full) or the sample (mini-batch); how many frames were seen, and the mean
    squared distance by pass."""

    centroids: torch.Tensor
    inertia: float
    counts: torch.Tensor
    frames_seen: int
    history: tuple[float, ...]


def nearest(x: torch.Tensor, centroids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [N, D], centroids [K, D] -> the number of the nearest centroid [N] and the squared distance to it [N]."""
    rows = ROWS_GPU if x.is_cuda else ROWS
    norms = centroids.square().sum(1)
    ids = torch.empty(len(x), dtype=torch.long, device=x.device)
    least = x.new_empty(len(x))
    held = x.new_empty(min(rows, len(x)), len(centroids))
    for start in range(0, len(x), rows):
        some = slice(start, start + rows)
        scores = torch.addmm(norms, x[some], centroids.T, alpha=-2, out=held[:len(x[some])])
        if x.is_cuda:
            torch.min(scores, 1, out=(least[some], ids[some]))
        else:
            # NumPy compares eight at a time, torch one: ten times as fast.
            ids[some] = torch.from_numpy(scores.numpy().argmin(1))
            least[some] = scores.gather(1, ids[some, None])[:, 0]
    return ids, (least + x.square().sum(1)).clamp_(min=0)


def plus_plus(x: torch.Tensor, clusters: int, generator: torch.Generator) -> torch.Tensor:
    """Greedy k-means++: of 2 + ln K frames drawn by their squared distance from the centroids so far, the one that
    lowers the sum most becomes the next. x [N, D] with N >= K -> [K, D]."""
    trials = 2 + int(math.log(clusters))
    norms = x.square().sum(1)
    chosen = torch.empty(clusters, dtype=torch.long)
    chosen[0] = torch.randint(len(x), (), generator=generator)

    def distances(rows: torch.Tensor) -> torch.Tensor:
        picked = x[rows]
        return (torch.addmm(norms, picked, x.T, alpha=-2) + picked.square().sum(1)[:, None]).clamp_(min=0)

    least = distances(chosen[:1].to(x.device))[0]
    for number in range(1, clusters):
        sums = least.double().cumsum(0)
        draws = torch.rand(trials, generator=generator, dtype=torch.float64).to(x.device) * sums[-1]
        rows = torch.searchsorted(sums, draws).clamp_(max=len(x) - 1)
        candidates = torch.minimum(distances(rows), least)
        best = int(candidates.sum(1).argmin())
        chosen[number], least = rows[best], candidates[best]
    return x[chosen.to(x.device)].clone()


class _Sums:
    """What one pass of Lloyd's algorithm gathers: sums and counts of each cluster, inertia, and the farthest frames."""

    def __init__(self, centroids: torch.Tensor):
        self.centroids = centroids
        self.sums = torch.zeros(centroids.shape, dtype=torch.float64, device=centroids.device)
        self.counts = torch.zeros(len(centroids), device=centroids.device, dtype=torch.float64)
        self.inertia, self.frames = torch.zeros((), dtype=torch.float64, device=centroids.device), 0
        self.far, self.far_distance = centroids[:0], centroids.new_zeros(0)

    def add(self, x: torch.Tensor) -> None:
        ids, distance = nearest(x, self.centroids)
        self.sums += torch.zeros_like(self.centroids).index_add_(0, ids, x)
        self.counts += ids.bincount(minlength=len(self.centroids))
        self.inertia += distance.sum(dtype=torch.float64)
        self.frames += len(x)
        top = distance.topk(min(len(self.centroids), len(x)))
        far, distance = torch.cat([self.far, x[top.indices]]), torch.cat([self.far_distance, top.values])
        keep = distance.topk(min(len(self.centroids), len(far))).indices
        self.far, self.far_distance = far[keep], distance[keep]

    def moved(self) -> torch.Tensor:
        """The means; empty clusters take the farthest frames, one each."""
        means = (self.sums / self.counts.clamp(min=1)[:, None]).float()
        empty = (self.counts == 0).nonzero()[:, 0][:len(self.far)]
        means[empty] = self.far[:len(empty)]
        return means


def lloyd(chunks: Callable[[], Iterator[torch.Tensor]], centroids: torch.Tensor, iterations: int,
          tolerance: float = 1e-4) -> tuple[torch.Tensor, list[float], torch.Tensor, int]:
    """Passes over all `chunks` until the mean squared distance falls by less than the share `tolerance`, or
    `iterations` of them. Returns centroids, mean squared distance before each pass, counts [K] and frames of a pass."""
    history: list[float] = []
    for _ in range(iterations):
        gathered = _Sums(centroids)
        for chunk in chunks():
            gathered.add(chunk)
        centroids = gathered.moved()
        history.append(float(gathered.inertia) / max(gathered.frames, 1))
        if len(history) > 1 and history[-2] - history[-1] < tolerance * history[-2] and bool(gathered.counts.all()):
            break
    return centroids, history, gathered.counts, gathered.frames


def draw_sample(chunks: Iterator[torch.Tensor], size: int, generator: torch.Generator) -> tuple[torch.Tensor, int]:
    """`size` frames [S, D] drawn evenly from a stream of any length, in the order of the draw, and the stream's length.
    Each frame gets a random key and the least keys stay."""
    kept, keys, frames = None, torch.empty(0), 0
    for chunk in chunks:
        frames += len(chunk)
        drawn = torch.rand(len(chunk), generator=generator)
        if len(keys) == size:
            below = (drawn < keys[-1]).nonzero()[:, 0]
            chunk, drawn = chunk[below.to(chunk.device)], drawn[below]
        kept = chunk if kept is None else torch.cat([kept, chunk])
        order = torch.cat([keys, drawn]).argsort()[:size]
        keys, kept = torch.cat([keys, drawn])[order], kept[order.to(kept.device)]
    if kept is None:
        raise ValueError("no frames")
    return kept, frames


def begin(sample: torch.Tensor, clusters: int, inits: int, generator: torch.Generator) -> torch.Tensor:
    """The best of `inits` beginnings: greedy k-means++ and a few of Lloyd's passes over a part of `sample` [S, D],
    S >= K, judged on the sample; then as many passes over all of it."""
    best, least = None, math.inf
    part = max(INIT_FRAMES, 4 * clusters)
    for _ in range(inits):
        some = sample[torch.randperm(len(sample), generator=generator)[:part].to(sample.device)]
        centroids = lloyd(lambda: iter([some]), plus_plus(some, clusters, generator), INIT_PASSES)[0]
        inertia = float(nearest(sample[:3 * INIT_FRAMES], centroids)[1].mean())
        if inertia < least:
            best, least = centroids, inertia
    return lloyd(lambda: iter([sample]), best, INIT_PASSES)[0]


def minibatch(stream: Stream, centroids: torch.Tensor, counts: torch.Tensor, passes: int,
              batch_frames: int) -> tuple[torch.Tensor, int]:
    """Sculley's updates over `passes` passes of the stream, in batches of `batch_frames`. counts [K]: the frames
    that the centroids already stand for. Returns centroids and frames seen."""
    centroids, counts = centroids.clone(), counts.double().clone()
    seen = 0
    for number in range(passes):
        given = torch.zeros_like(counts)
        for batch in gather_batches(stream(number), batch_frames):
            ids, distance = nearest(batch, centroids)
            got = ids.bincount(minlength=len(centroids)).double()
            counts, given, seen = counts + got, given + got, seen + len(batch)
            sums = torch.zeros_like(centroids).index_add_(0, ids, batch)
            step = (1 / counts.clamp(min=1)).float()[:, None]
            centroids += (sums - got.float()[:, None] * centroids) * step
        dead = (given < DEAD_SHARE * given.mean()).nonzero()[:, 0] if number + 1 < passes else given[:0].long()
        if len(dead):
            far = distance.topk(min(len(dead), len(batch))).indices
            centroids[dead[:len(far)]] = batch[far]
            counts[dead] = 0
        counts = counts / 2
    return centroids, seen


def gather_batches(chunks: Iterator[torch.Tensor], size: int) -> Iterator[torch.Tensor]:
    """Chunks joined and cut into batches of `size` frames, the last as it comes."""
    waiting, frames = [], 0
    for chunk in chunks:
        waiting.append(chunk)
        frames += len(chunk)
        if frames >= size:
            *whole, rest = torch.cat(waiting).split(size)
            if len(rest) == size:
                whole, rest = [*whole, rest], rest[:0]
            yield from whole
            waiting, frames = [rest], len(rest)
    if frames:
        yield torch.cat(waiting)


def fit(stream: Stream, clusters: int, *, algorithm: str = "minibatch", inits: int = 3, sample_frames: int = 0,
        batch_frames: int = 10_000, passes: int = 0, tolerance: float = 1e-4, seed: int = 0,
        device: str | torch.device = "cpu") -> Fit:
    """K-means of the frames of `stream`.

    algorithm: "minibatch", `passes` (0: 2) shuffled passes, or "full", Lloyd's algorithm, at most `passes` (0: 100).
    sample_frames: what is held in memory for the beginning; 0 takes 256 a cluster and 50,000 at the least.
    Memory: the sample, a chunk and a batch, whatever the length of the stream. Raises ValueError for fewer frames than
    clusters.
    """
    if algorithm not in ("minibatch", "full"):
        raise ValueError(f"algorithm '{algorithm}', wanted minibatch or full")
    generator = torch.Generator().manual_seed(seed)
    sample, frames = draw_sample((chunk.float() for chunk in stream(-1)), sample_frames or max(50_000, 256 * clusters),
                                 generator)
    if len(sample) < clusters:
        raise ValueError(f"{frames} frames for {clusters} clusters")
    sample = sample.to(device)
    centroids = begin(sample, clusters, inits, generator)

    def moved(number: int) -> Iterator[torch.Tensor]:
        return (chunk.to(device, torch.float32, non_blocking=True) for chunk in stream(number))

    if algorithm == "full":
        centroids, history, counts, frames = lloyd(lambda: moved(-1), centroids, passes or 100, tolerance)
        return Fit(centroids.cpu(), history[-1], counts.long().cpu(), frames * len(history), tuple(history))
    counts = nearest(sample, centroids)[0].bincount(minlength=clusters)
    centroids, seen = minibatch(moved, centroids, counts, passes or 2, batch_frames)
    ids, distance = nearest(sample, centroids)
    inertia = float(distance.mean())
    return Fit(centroids.cpu(), inertia, ids.bincount(minlength=clusters).cpu(), seen, (inertia,))
