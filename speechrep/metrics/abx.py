"""ABX: is X, another token of A's category, nearer to A than to B?

The error is 1 - P(d(A, X) < d(B, X)), ties counting one half (Schatz et al. 2013; as Libri-light and fastabx compute it). A and
B are phones that differ; within a speaker X is another token of A's own group, across speakers it is said by another
speaker than A and B. In context A, B and X stand between the same phones. The distance of two tokens is the mean cost
along the cheapest path of dynamic time warping between their frames.

Averages are taken of cells (A, B, context, speaker, X's speaker): over contexts and X's speakers first, then over
speakers, then over ordered pairs of phones; without context over both speakers at once.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speechrep.metrics.dtw import batch_mean_cost

DISTANCES = ("angular", "cosine", "euclidean", "kl_symmetric", "identical")
"""Of frames. cosine is the name that Libri-light gave to angular; kl_symmetric is of probabilities; identical is 0 or 1
for units, one number a frame."""
MAX_GROUP = 10
"""Tokens of a phone in a context by a speaker, at the most (ZeroSpeech 2021)."""
MAX_X_SPEAKERS = 5
"""Speakers of X for an A and B, at the most (ZeroSpeech 2021)."""
AT_ONCE = 2 ** 22
"""Numbers in a batch, of frames and of costs, at the most."""
EPSILON = 1e-6


@dataclass(frozen=True)
class Item:
    """A token: `frames` is where its frames begin and end in the matrix of all frames. `domain` bounds what may be
    compared at all, such as a language."""

    phone: str
    context: str
    speaker: str
    frames: tuple[int, int]
    domain: str = ""


@dataclass(frozen=True)
class Cells:
    """C cells: group numbers of A, B and X [C]; `groups` holds the items of each group, `names` its (phone, context,
    speaker, domain)."""

    groups: list[np.ndarray]
    names: list[tuple[str, str, str, str]]
    a: np.ndarray
    b: np.ndarray
    x: np.ndarray

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True)
class Abx:
    """`error` in [0, 1]; `pairs` the error of each ordered pair of phones; `cells` of each cell [C]; how many `cells`
    and `triplets` it is of."""

    error: float
    pairs: dict[tuple[str, str], float]
    cells: np.ndarray
    triplets: int


def frame_range(onset: float, offset: float, rate: float) -> tuple[int, int]:
    """First frame and the one behind the last whose centres, (i + 1/2) / rate, lie in [onset, offset] seconds.

    Libri-light's own code leaves the last one out, which fastabx calls a bug. Times count as decimals of 0.1 ms.
    """
    low, high = (round(time * 10_000) * rate / 10_000 for time in (onset, offset))
    # Rounding undoes what binary fractions add to a centre that lies on the border.
    return math.ceil(round(low - 0.5, 9)), math.floor(round(high - 0.5, 9)) + 1


def make_cells(items: Sequence[Item], across: bool, in_context: bool = True, max_group: int | None = MAX_GROUP,
               max_x_speakers: int | None = MAX_X_SPEAKERS, seed: int = 0) -> Cells:
    """The cells of a test. The caps draw by `seed` and the name of what is cut, whatever else there is; None: no cap."""
    members: dict[tuple[str, str, str, str], list[int]] = {}
    for number, item in enumerate(items):
        key = (item.phone, item.context if in_context else "", item.speaker, item.domain)
        members.setdefault(key, []).append(number)
    names = list(members)
    groups = [_some(members[name], max_group, seed, name) for name in names]
    by_place: dict[tuple[str, str, str], list[int]] = {}
    by_speaker: dict[tuple[str, str, str], list[int]] = {}
    for group, (phone, context, speaker, domain) in enumerate(names):
        by_place.setdefault((context, speaker, domain), []).append(group)
        by_speaker.setdefault((phone, context, domain), []).append(group)
    cells = []
    for here in by_place.values():
        for a in here:
            phone, context, speaker, domain = names[a]
            for b in here:
                if b == a:
                    continue
                if not across:
                    cells += [(a, b, a)] if len(groups[a]) > 1 else []
                    continue
                others = [x for x in by_speaker[phone, context, domain] if x != a]
                cells += [(a, b, int(x)) for x in _some(others, max_x_speakers, seed, (*names[a], names[b][0]))]
    table = np.array(cells, dtype=np.int64).reshape(-1, 3)
    return Cells(groups, names, *table.T)


def abx(frames: torch.Tensor, items: Sequence[Item], cells: Cells, distance: str = "angular") -> Abx:
    """The error of `cells`. frames: the frames that items point into [F, D], float. Raises ValueError where there is no
    cell, for an item without frames, and for frames that the distance is not made for."""
    if not len(cells):
        raise ValueError("no two phones in the same context by the same speaker" if len(items) else "no item")
    starts, ends = np.array([item.frames for item in items]).T
    if not (ends > starts).all() or starts.min() < 0 or ends.max() > len(frames):
        raise ValueError(f"item {int((ends <= starts).argmax())} has no frames among {len(frames)}")
    frames = _prepared(frames, distance)
    count = len(cells.groups)
    wanted, place = np.unique(np.concatenate([cells.x * count + cells.a, cells.x * count + cells.b]), return_inverse=True)
    sizes = np.array([len(group) for group in cells.groups])
    offsets = np.concatenate([[0], np.cumsum(sizes[wanted // count] * sizes[wanted % count])])
    found = np.empty(offsets[-1], dtype=np.float32 if frames.dtype == torch.float32 else np.float64)
    for numbers, block in _blocks(frames, starts, ends - starts, cells.groups, wanted // count, wanted % count, distance):
        rows, columns = block.shape[1:]
        found[offsets[numbers][:, None] + np.arange(rows * columns)] = block.reshape(len(numbers), -1)
    errors = _errors(cells, found, offsets[place[:len(cells)]], offsets[place[len(cells):]], sizes)
    pairs = _collapse(cells, errors)
    triplets = sizes[cells.a] * sizes[cells.b] * np.where(cells.a == cells.x, sizes[cells.a] - 1, sizes[cells.x])
    return Abx(float(np.mean(list(pairs.values()))), pairs, errors, int(triplets.sum()))


def _some(members: list[int], most: int | None, seed: int, name: tuple[str, ...]) -> np.ndarray:
    if most is None or len(members) <= most:
        return np.array(members, dtype=np.int64)
    rng = np.random.default_rng((seed, zlib.crc32("\t".join(name).encode())))
    return np.array(members, dtype=np.int64)[np.sort(rng.choice(len(members), most, replace=False))]


def _prepared(frames: torch.Tensor, distance: str) -> torch.Tensor:
    """Frames as `_costs` takes them; checked."""
    if distance not in DISTANCES:
        raise ValueError(f"distance: '{distance}', wanted one of {DISTANCES}")
    norm = frames.norm(dim=1, keepdim=True)
    if not torch.isfinite(norm).all():
        raise ValueError("frames that are not finite")
    if distance == "identical" and frames.shape[1] != 1:
        raise ValueError(f"frames of {frames.shape[1]} numbers, wanted one unit a frame")
    if distance == "kl_symmetric" and not (frames.min() >= 0 and torch.allclose(
            frames.sum(1), frames.new_ones(()), atol=1e-3)):
        raise ValueError("frames that are not probabilities: below 0, or a sum other than 1")
    if distance in ("angular", "cosine"):
        unit = frames / norm
        # A frame of zeros has no angle; fastabx lets it point to where all dimensions are equal.
        unit[norm[:, 0] == 0] = frames.shape[1] ** -0.5
        return unit
    return frames


def _costs(x: torch.Tensor, y: torch.Tensor, distance: str) -> torch.Tensor:
    """Distance of every frame of x [P, N, D] to every frame of y [P, M, D]: [P, N, M]."""
    if distance == "euclidean":
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    if distance == "identical":
        return (x != y.transpose(1, 2)).to(x.dtype)
    if distance == "kl_symmetric":
        # 1/2 sum (p - q) (log p - log q); logarithms are centred, which sums of 1 allow and float32 needs.
        log_x, log_y = ((value + EPSILON).log() for value in (x, y))
        log_x, log_y = log_x - log_x.mean(-1, keepdim=True), log_y - log_y.mean(-1, keepdim=True)
        own = (x * log_x).sum(-1)[:, :, None] + (y * log_y).sum(-1)[:, None, :]
        return 0.5 * (own - x @ log_y.transpose(1, 2) - log_x @ y.transpose(1, 2))
    return (x @ y.transpose(1, 2)).clamp(-1, 1).acos() / math.pi


def _blocks(frames: torch.Tensor, starts: np.ndarray, lengths: np.ndarray, groups: list[np.ndarray], first: np.ndarray,
            second: np.ndarray, distance: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Distances [P, R, S] of all items of group `first` to all of group `second`, with the numbers [P] of these pairs of
    groups, batch by batch; infinity from an item to itself, which is never an X of its own."""
    sizes = np.array([len(group) for group in groups])
    longest = np.array([lengths[group].max() for group in groups])
    order = np.lexsort((longest[second], longest[first], sizes[second], sizes[first]))
    begin = 0
    while begin < len(order):
        head = order[begin]
        rows, columns = sizes[first[head]], sizes[second[head]]
        ahead = order[begin:begin + 4096]
        same = (sizes[first[ahead]] == rows) & (sizes[second[ahead]] == columns)
        height, width = (size * np.maximum.accumulate(longest[side[ahead]])
                         for size, side in ((rows, first), (columns, second)))
        numbers_each = height * width + (height + width) * frames.shape[1]
        fits = same & (numbers_each * np.arange(1, len(ahead) + 1) <= AT_ONCE)
        numbers = ahead[:max(1, len(ahead) if fits.all() else int(fits.argmin()))]
        begin += len(numbers)
        own, other = (np.stack([groups[group] for group in side[numbers]]) for side in (first, second))
        found = _distances(frames, starts, lengths, own, other, distance)
        if rows == columns:
            found[first[numbers] == second[numbers]] += np.diag(np.full(rows, np.inf, dtype=found.dtype))
        yield numbers, found


def _distances(frames: torch.Tensor, starts: np.ndarray, lengths: np.ndarray, own: np.ndarray, other: np.ndarray,
               distance: str) -> np.ndarray:
    """Distances [P, R, S] of items `own` [P, R] to items `other` [P, S]."""
    sides = []
    for items in (own, other):
        longest = int(lengths[items].max())
        # Behind its end an item repeats its last frame: finite, and never on a path that counts.
        steps = np.minimum(np.arange(longest), lengths[items][..., None] - 1)
        at = torch.from_numpy(starts[items][..., None] + steps).to(frames.device)
        sides.append(frames[at.reshape(len(items), -1)])
    pairs, (rows, columns) = len(own), (own.shape[1], other.shape[1])
    cost = _costs(*sides, distance).reshape(pairs, rows, -1, columns, sides[1].shape[1] // columns)
    cost = cost.permute(2, 4, 0, 1, 3).reshape(cost.shape[2], cost.shape[4], -1)
    whose = np.broadcast_to(own[:, :, None], (pairs, rows, columns)), np.broadcast_to(other[:, None], (pairs, rows, columns))
    sizes = [torch.from_numpy(lengths[items].reshape(-1)).to(frames.device) for items in whose]
    return batch_mean_cost(cost, *sizes).reshape(pairs, rows, columns).cpu().numpy()


def _errors(cells: Cells, found: np.ndarray, at_a: np.ndarray, at_b: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The error of each cell [C], cells of the same sizes together; at_a, at_b: where its distances begin in `found`."""
    shape = np.stack([sizes[cells.x], sizes[cells.a], sizes[cells.b], cells.x == cells.a], 1)
    kinds, kind = np.unique(shape, axis=0, return_inverse=True)
    errors = np.empty(len(cells))
    order = np.argsort(kind.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(kind.reshape(-1)))
    for (x, a, b, symmetric), end, count in zip(kinds.tolist(), ends, np.bincount(kind.reshape(-1))):
        triplets = x * b * (a - 1 if symmetric else a)
        step = max(1, AT_ONCE // (x * a * b))
        for begin in range(end - count, end, step):
            some = order[begin:min(begin + step, end)]
            to_a = found[at_a[some][:, None] + np.arange(x * a)].reshape(-1, x, a, 1)
            to_b = found[at_b[some][:, None] + np.arange(x * b)].reshape(-1, x, 1, b)
            right = 0.5 * (1 - np.sign(to_a - to_b)).sum((1, 2, 3), dtype=np.float64)
            errors[some] = 1 - right / triplets
    return errors


def _collapse(cells: Cells, errors: np.ndarray) -> dict[tuple[str, str], float]:
    """(A, B) -> error, averaged as said above. The same phone in another domain is another phone."""
    keys = [(cells.names[a], cells.names[b][0]) for a, b in zip(cells.a.tolist(), cells.b.tolist())]
    if not any(name[1] for name in cells.names):
        keys = [((phone, "", "", domain), other) for (phone, _, _, domain), other in keys]
    by_speaker: dict[tuple[str, str, str, str], list[float]] = {}
    for ((phone, _, speaker, domain), other), error in zip(keys, errors.tolist()):
        by_speaker.setdefault((domain, phone, other, speaker), []).append(error)
    by_pair: dict[tuple[str, str], list[float]] = {}
    for (domain, phone, other, _), values in by_speaker.items():
        prefix = f"{domain}:" if domain else ""
        by_pair.setdefault((prefix + phone, prefix + other), []).append(float(np.mean(values)))
    return {pair: float(np.mean(values)) for pair, values in by_pair.items()}
