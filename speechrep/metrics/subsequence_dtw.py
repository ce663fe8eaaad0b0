"""Where in a document is a query said? Subsequence DTW of every query with every document, as SUPERB's query by example.

Each frame of the query is aligned with one of the document, which moves on by none, one or two frames at a time (the
step pattern "asymmetric" of Giorgino's dtw packages, whose paths cost what the cells on them do); the path may begin
and end anywhere in the document. What comes out is the mean cost over the query's frames. Costs are the frames'
distances, brought for each frame of the query to 0 for the nearest frame of the document and 1 for the farthest.

A cell depends on the row above it alone, so a row of many documents is computed at once: documents of similar length
lie side by side, the shorter ones going on with their last frame. A path over such copies can take that last frame
itself in their place, so they change no cost; nor do they change a row's least and greatest distance.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

DISTANCES = ("cosine_exp", "cosine", "euclidean")
"""Of frames. cosine_exp is exp(1 - cos) - 1, SUPERB's."""
LEAST_RANGE = 1e-9
"""Distances of a frame to a document that differ by less count as equal (s3prl)."""
COLUMNS = 2 ** 14
"""Frames of documents side by side, at the most, where no document is longer."""
ROWS = 256
"""Frames of queries compared with them by one matrix product, at the most, where no query is longer."""


def match(queries: Sequence[torch.Tensor], documents: Sequence[torch.Tensor], lengths: Sequence[int],
          distance: str = "cosine_exp") -> np.ndarray:
    """Mean cost of the best place of each query in each document: [Q, R], from 0 to 1.

    queries: frames [N, D] each; documents: frames [M, D] each, looked up once, so that they may be read when asked for;
    lengths: the documents' frames [R]. Raises ValueError for an unknown distance and for a sequence without frames.
    """
    if distance not in DISTANCES:
        raise ValueError(f"distance: '{distance}', wanted one of {DISTANCES}")
    if not all(len(query) for query in queries) or not all(lengths) or len(lengths) != len(documents):
        raise ValueError("a query or document without frames")
    groups = list(_groups([len(query) for query in queries]))
    prepared = [_prepared(torch.cat([queries[k] for k in group]), distance) for group in groups]
    found = np.empty((len(queries), len(documents)))
    buffer = torch.empty(0)
    for some in _blocks(lengths):
        longest = max(lengths[k] for k in some)
        parts = [_prepared(documents[k], distance) for k in some]
        block = torch.stack([part[torch.arange(longest).clamp_(max=len(part) - 1)] for part in parts], 1)
        for group, rows in zip(groups, prepared):
            size = len(rows) * longest * len(some)
            if len(buffer) < size:
                buffer = block.new_empty(size)
            costs = _costs(rows, block.flatten(0, 1), distance, buffer[:size]).view(len(rows), longest, len(some))
            for k, cost in zip(group, costs.split([len(queries[k]) for k in group])):
                found[k, some] = best_path(scale(cost, distance)).cpu().numpy()
    return found


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of neighbouring queries that have at most `ROWS` frames together."""
    group: list[int] = []
    for number, length in enumerate(lengths):
        if group and sum(lengths[k] for k in group) + length > ROWS:
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def _blocks(lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Numbers of documents of similar length that have at most `COLUMNS` frames together, copies counted."""
    order = np.argsort(lengths, kind="stable")
    begin = 0
    while begin < len(order):
        sizes = np.asarray(lengths)[order[begin:]] * np.arange(1, len(order) - begin + 1)
        end = begin + max(1, int(np.searchsorted(sizes, COLUMNS, side="right")))
        yield order[begin:end]
        begin = end


def _prepared(frames: torch.Tensor, distance: str) -> torch.Tensor:
    """Frames of unit length where the distance is of angles; a frame of zeros stays, at right angles to all."""
    if distance == "euclidean":
        return frames
    return frames / frames.norm(dim=1, keepdim=True).clamp_(min=torch.finfo(frames.dtype).tiny)


def _costs(rows: torch.Tensor, columns: torch.Tensor, distance: str, out: torch.Tensor) -> torch.Tensor:
    """Of every frame of rows [N, D] and columns [M, D]: a number that the distance is a linear function of, save the
    exponential that `scale` takes; in `out` [N * M], whose memory is used over and over."""
    if distance == "euclidean":
        return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
    # Scaling to 0 and 1 undoes the constants of exp(1 - cos) - 1 = e exp(-cos) - 1.
    return torch.mm(-rows, columns.T, out=out.view(len(rows), len(columns)))


def scale(costs: torch.Tensor, distance: str) -> torch.Tensor:
    """costs [N, M, B] of `_costs`, brought in place to 0 for the least and 1 for the greatest over M."""
    least = LEAST_RANGE / math.e if distance == "cosine_exp" else LEAST_RANGE
    if distance == "cosine_exp":
        costs.exp_()
    low, high = (_extreme(costs, choose) for choose in (torch.minimum, torch.maximum))
    return costs.sub_(low).mul_((high - low).clamp_(min=least).reciprocal_())


def _extreme(values: torch.Tensor, choose: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The least or greatest of values [N, M, B] over M: [N, 1, B]. By halves, several times as fast as amin."""
    while values.shape[1] > 1:
        half = (values.shape[1] + 1) // 2
        values = choose(values[:, :half], values[:, -half:])
    return values


def best_path(costs: torch.Tensor) -> torch.Tensor:
    """Mean cost of the best path of one query through B documents [B]. costs: [N, M, B]."""
    n, m, count = costs.shape
    # Two rows in turn, behind a border of two frames that no path comes from.
    both = costs.new_full((2, m + 2, count), math.inf)
    views = [(sums[2:], sums[1:-1], sums[:-2]) for sums in both]
    views[0][0].copy_(costs[0])
    for i, row in enumerate(costs.unbind()[1:]):
        (stay, one, two), (now, _, _) = views[i % 2], views[1 - i % 2]
        torch.minimum(stay, one, out=now)
        torch.minimum(now, two, out=now)
        now.add_(row)
    return views[(n - 1) % 2][0].amin(0) / n
