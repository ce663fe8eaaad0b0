"""ABX: is X, another token of A's category, nearer to A than to B?

The error is 1 - P(d(A, X) < d(B, X)), ties counting one half (Schatz et al. 2013; as Libri-light and fastabx compute
it). A and B are phones that differ; within a speaker X is another token of A's own group, across speakers it is said by
another speaker than A and B. In context A, B and X stand between the same phones. The distance of two tokens is the
mean cost along the cheapest path of dynamic time warping between their frames.

Averages are taken of cells (A, B, context, speaker, X's speaker): over contexts and X's speakers first, then over
speakers, then over ordered pairs of phones; without context over both speakers at once.
"""

import functools
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch

from speechrep.metrics.batch_dtw import batch_mean_cost
from speechrep.metrics.unit_dtw import unit_mean_cost

DISTANCES = ("angular", "cosine", "euclidean", "kl_symmetric", "identical")
"""Of frames. cosine is the name that Libri-light gave to angular; kl_symmetric is of probabilities; identical is 0 or 1
for units, one number a frame."""
MAX_GROUP = 10
"""Tokens of a phone in a context by a speaker, at the most (ZeroSpeech 2021)."""
MAX_X_SPEAKERS = 5
"""Speakers of X for an A and B, at the most (ZeroSpeech 2021)."""
AT_ONCE = 2 ** 20
"""Numbers in a batch, of frames and of costs, at the most."""
BIN = 256
"""Frames of a bin (see `_distances`), up to the end of an item."""
PATH_CELLS = 2 ** 18
"""Cells of pairs whose paths are found side by side, at the most: they should stay in the processor's cache."""
MOST_PAIRS = 8192
"""Such pairs, at the most."""
EPSILON = 1e-6


CellName = tuple[str, str, str, str, str, str]
"""Phones of A and B, context, speaker of A and B, speaker of X, domain."""


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
    """`error` in [0, 1]; `pairs` the error of each ordered pair of phones; `cells` of each cell [C]; how many triplets each
    cell has, `counts` [C], and how many `triplets` there are."""

    error: float
    pairs: dict[tuple[str, str], float]
    cells: np.ndarray
    counts: np.ndarray
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
    """The cells of a test. The caps draw by `seed` and the name of what is cut, whatever else there is; None: none."""
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
    count = len(cells.groups)
    meetings = np.concatenate([cells.x * count + cells.a, cells.x * count + cells.b])
    wanted, place = np.unique(meetings, return_inverse=True)
    sizes = np.array([len(group) for group in cells.groups])
    first, second = wanted // count, wanted % count
    offsets = np.concatenate([[0], np.cumsum(sizes[first] * sizes[second])])
    own, other, direct, mirror = _pairs_of_items(cells.groups, sizes, first, second, offsets)
    if distance == "identical":
        # Of sums that are equal, as those of 0 and 1 often are, the path preferred is another one when mirrored: each
        # pair both ways round.
        found = _unit_distances(_prepared(frames, distance), starts, ends - starts, own, other)
    else:
        within = bool((cells.a == cells.x).all())
        group = np.zeros(len(items), dtype=np.int64)
        group[np.concatenate(cells.groups)] = np.repeat(np.arange(count), sizes)
        keys = [(item.domain, item.context, item.speaker if within else "") for item in items]
        once = _distances(_prepared(frames, distance), starts, ends - starts, keys, group, own[direct], other[direct], distance)
        found = np.empty(len(own), dtype=once.dtype)
        found[direct] = once
        found[~direct] = found[mirror[~direct]]
    # No item is an X of its own.
    found[own == other] = np.inf
    errors = _errors(cells, found, offsets[place[:len(cells)]], offsets[place[len(cells):]], sizes)
    pairs = collapse(cell_names(cells), errors.tolist())
    triplets = sizes[cells.a] * sizes[cells.b] * np.where(cells.a == cells.x, sizes[cells.a] - 1, sizes[cells.x])
    return Abx(mean_error(pairs), pairs, errors, triplets, int(triplets.sum()))


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
    if distance == "kl_symmetric":
        # 1/2 sum (p - q) (log p - log q); logarithms are centred, which sums of 1 allow and float32 needs.
        log_x, log_y = ((value + EPSILON).log() for value in (x, y))
        log_x, log_y = log_x - log_x.mean(-1, keepdim=True), log_y - log_y.mean(-1, keepdim=True)
        own = (x * log_x).sum(-1)[:, :, None] + (y * log_y).sum(-1)[:, None, :]
        return 0.5 * (own - x @ log_y.transpose(1, 2) - log_x @ y.transpose(1, 2))
    return (x @ y.transpose(1, 2)).clamp_(-1, 1).acos_().div_(math.pi)


def _pairs_of_items(groups: list[np.ndarray], sizes: np.ndarray, first: np.ndarray, second: np.ndarray,
                    offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All items of group `first` with all of group `second`, the latter's running faster, for each pair of groups in
    turn (sorted): two arrays of item numbers [T]; a pair of groups begins at its offset. Whether the pair is to be
    computed, which it is not where its groups meet the other way round too, and then where its mirror image is [T]."""
    flat, begin = np.concatenate(groups), np.concatenate([[0], np.cumsum(sizes)])
    codes, reverse = first * len(sizes) + second, second * len(sizes) + first
    at = np.minimum(np.searchsorted(codes, reverse), len(codes) - 1)
    direct = (first <= second) | (codes[at] != reverse)
    counts = np.diff(offsets)
    row, column = np.divmod(np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts), np.repeat(sizes[second], counts))
    own = flat[np.repeat(begin[first], counts) + row]
    other = flat[np.repeat(begin[second], counts) + column]
    mirror = np.repeat(offsets[at], counts) + column * np.repeat(sizes[first], counts) + row
    return own, other, np.repeat(direct, counts), mirror


def _unit_distances(frames: torch.Tensor, starts: np.ndarray, lengths: np.ndarray, own: np.ndarray,
                    other: np.ndarray) -> np.ndarray:
    """Distances of items `own` to items `other` [T] by which units are the same."""
    units = np.unique(frames[:, 0].cpu().numpy(), return_inverse=True)[1]
    dtype = np.float32 if frames.dtype == torch.float32 else np.float64
    return unit_mean_cost(units, starts, lengths, own, other).astype(dtype)


def _distances(frames: torch.Tensor, starts: np.ndarray, lengths: np.ndarray, keys: list[tuple[str, ...]],
               group: np.ndarray, own: np.ndarray, other: np.ndarray, distance: str) -> np.ndarray:
    """Distances of items `own` to items `other` [T].

    Items with the same key stand side by side in bins of about `BIN` frames, in the order of their `group` [I], since
    of two groups' pairs one way round is enough, and with it of two bins; every frame of a bin is compared with every
    frame of another by one matrix product, out of which the pairs take theirs.
    """
    used = np.zeros(len(lengths), dtype=bool)
    used[own] = used[other] = True
    used = np.flatnonzero(used)
    blocks = {key: number for number, key in enumerate(sorted({keys[i] for i in used.tolist()}))}
    block = np.array([blocks[keys[i]] for i in used.tolist()])
    order = np.lexsort((group[used], block))
    used, block = used[order], block[order]
    behind = np.cumsum(lengths[used])
    before = behind - lengths[used]
    in_block = before - before[np.searchsorted(block, block)]
    number = block * (behind[-1] // BIN + 1) + in_block // BIN
    _, opens, its_bin = np.unique(number, return_index=True, return_inverse=True)
    # Where each bin begins among the frames in the order of the bins, how many it has, and where in it an item begins.
    begins = before[opens]
    widths = np.diff(np.append(begins, behind[-1]))
    place = np.empty(len(lengths), dtype=np.int64)
    bins = np.empty(len(lengths), dtype=np.int64)
    place[used], bins[used] = before - begins[its_bin], its_bin
    step = np.arange(behind[-1]) - np.repeat(before, lengths[used])
    frames = frames[torch.from_numpy(np.repeat(starts[used], lengths[used]) + step).to(frames.device)]

    both, meeting = _numbered(bins[own] * len(widths) + bins[other], len(widths) ** 2)
    rows, columns = both // len(widths), both % len(widths)
    found = np.empty(len(own), dtype=np.float32 if frames.dtype == torch.float32 else np.float64)
    order = np.lexsort((widths[columns], widths[rows]))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    ranks = rank[meeting]
    # Of 16 bits numpy sorts by counting.
    pairs = np.argsort(ranks.astype(np.uint16) if len(order) <= 2 ** 16 else ranks, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(ranks, minlength=len(order)))])
    for begin, end in _batches(widths[rows[order]], widths[columns[order]], frames.shape[1]):
        now = order[begin:end]
        sides = [frames[torch.from_numpy(np.minimum(begins[side[now]][:, None] + np.arange(widths[side[now]].max()),
                                                    len(frames) - 1)).to(frames.device)] for side in (rows, columns)]
        cost = _costs(*sides, distance)
        some = pairs[ends[begin]:ends[end]]
        corner = ((ranks[some] - begin) * cost.shape[1] + place[own[some]]) * cost.shape[2] + place[other[some]]
        found[some] = _aligned(cost, corner, lengths[own[some]], lengths[other[some]])
    return found


def _numbered(values: np.ndarray, bound: int) -> tuple[np.ndarray, np.ndarray]:
    """The different ones of values [T] below `bound`, sorted, and which of them each is [T]."""
    if bound > 4 * len(values):
        return np.unique(values, return_inverse=True)
    there = np.zeros(bound, dtype=bool)
    there[values] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[values]


def _batches(rows: np.ndarray, columns: np.ndarray, dim: int) -> Iterator[tuple[int, int]]:
    """Runs of pairs of bins, as many as fit into `AT_ONCE` numbers: from the first to the one behind the last."""
    begin = 0
    while begin < len(rows):
        height, width = (np.maximum.accumulate(side[begin:begin + 4096]) for side in (rows, columns))
        fits = (height * width + (height + width) * dim) * np.arange(1, len(height) + 1) <= AT_ONCE
        end = begin + max(1, len(fits) if fits.all() else int(fits.argmin()))
        yield begin, end
        begin = end


def _aligned(cost: torch.Tensor, corner: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Mean costs of pairs of items [P]: corner, where in the flat `cost` [B, R, C] a pair's first cell is; rows and
    columns, its frames [P]. What lies beyond a pair belongs to others: finite, and never on a path that counts."""
    found = np.empty(len(corner), dtype=np.float32 if cost.dtype == torch.float32 else np.float64)
    compiled = _compiled() if cost.device.type == "cpu" else None
    if compiled:
        compiled.mean_costs(cost.reshape(-1).numpy(), cost.shape[2], corner, rows, columns, found)
        return found
    order, width, flat, begin = np.lexsort((columns, rows)), cost.shape[2], cost.reshape(-1), 0
    corners = torch.from_numpy(corner).to(cost.device)
    while begin < len(order):
        ahead = order[begin:begin + MOST_PAIRS]
        cells = rows[ahead] * np.maximum.accumulate(columns[ahead]) * np.arange(1, len(ahead) + 1)
        now = ahead[:max(1, int(np.searchsorted(cells, PATH_CELLS, side="right")))]
        n, m = rows[now].max(), columns[now].max()
        inside = torch.arange(n, device=cost.device)[:, None, None] * width + torch.arange(m, device=cost.device)[:, None]
        at = (corners[torch.from_numpy(now).to(cost.device)] + inside).clamp_(max=len(flat) - 1)
        sizes = (torch.from_numpy(side[now]).to(cost.device) for side in (rows, columns))
        taken = flat.index_select(0, at.view(-1)).view(at.shape)
        found[now] = batch_mean_cost(taken, *sizes).cpu().numpy()
        begin += len(now)
    return found


@functools.cache
def _compiled() -> ModuleType | None:
    """Several times as fast as what torch and numpy do side by side, where numba is installed."""
    try:
        from speechrep.metrics import compiled_dtw
    except ImportError:
        return None
    return compiled_dtw


def _errors(cells: Cells, found: np.ndarray, at_a: np.ndarray, at_b: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The error of each cell [C]; at_a, at_b: where its distances are in `found`."""
    if compiled := _compiled():
        right = np.empty(len(cells))
        counts = sizes[cells.x], sizes[cells.a], sizes[cells.b]
        compiled.count_nearer(found, at_a, at_b, *counts, right)
        triplets = counts[0] * counts[2] * np.where(cells.x == cells.a, counts[1] - 1, counts[1])
        return 1 - right / triplets
    # Cells of the same sizes together.
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


def cell_names(cells: Cells) -> list[CellName]:
    """The name of each cell [C]."""
    return [(cells.names[a][0], cells.names[b][0], *cells.names[a][1:3], cells.names[x][2], cells.names[a][3])
            for a, b, x in zip(cells.a.tolist(), cells.b.tolist(), cells.x.tolist())]


def mean_error(pairs: Mapping[tuple[str, str], float]) -> float:
    """Of the errors of ordered pairs."""
    return float(np.mean(list(pairs.values())))


def collapse(names: Sequence[CellName], errors: Sequence[float]) -> dict[tuple[str, str], float]:
    """(A, B) -> error, averaged over cells [C] as said above. The same phone in another domain is another phone."""
    in_context = any(name[2] for name in names)
    by_speaker: dict[tuple[str, str, str, str], list[float]] = {}
    for (phone, other, _, speaker, _, domain), error in zip(names, errors):
        by_speaker.setdefault((domain, phone, other, speaker if in_context else ""), []).append(error)
    by_pair: dict[tuple[str, str], list[float]] = {}
    for (domain, phone, other, _), values in by_speaker.items():
        prefix = f"{domain}:" if domain else ""
        by_pair.setdefault((prefix + phone, prefix + other), []).append(float(np.mean(values)))
    return {pair: float(np.mean(values)) for pair, values in by_pair.items()}
