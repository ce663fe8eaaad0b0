"""ABX against a plain loop, hand-worked cases, and numbers that fastabx gave."""

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechrep.metrics import abx as module, unit_dtw
from speechrep.metrics.abx import DISTANCES, Item, abx, frame_range, make_cells
from speechrep.metrics.batch_dtw import batch_mean_cost
from speechrep.metrics.dtw import path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import abx_against_fastabx as bench  # noqa: E402


def loop_distance(x, y, distance):
    """Mean cost of the path, cell by cell and backtracking, as fastabx defines it."""
    cost = np.empty((len(x), len(y)))
    for i, j in itertools.product(range(len(x)), range(len(y))):
        a, b = x[i].astype(float), y[j].astype(float)
        if distance in ("angular", "cosine"):
            cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
            cost[i, j] = math.acos(min(1, max(-1, cosine))) / math.pi
        elif distance == "euclidean":
            cost[i, j] = math.sqrt(((a - b)**2).sum())
        elif distance == "kl_symmetric":
            cost[i, j] = 0.5 * ((a - b) * np.log((a + 1e-6) / (b + 1e-6))).sum()
        else:
            cost[i, j] = float(a[0] != b[0])
    total = np.full((len(x) + 1, len(y) + 1), np.inf)
    total[0, 0] = 0
    for i, j in itertools.product(range(1, len(x) + 1), range(1, len(y) + 1)):
        total[i, j] = cost[i - 1, j - 1] + min(total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])
    i, j, steps = len(x), len(y), 1
    while (i, j) != (1, 1):
        diagonal, left, up = total[i - 1, j - 1], total[i, j - 1], total[i - 1, j]
        if diagonal <= left and diagonal <= up:
            i, j = i - 1, j - 1
        elif left <= up:
            j -= 1
        else:
            i -= 1
        steps += 1
    return total[-1, -1] / steps


def loop_abx(frames, items, distance, across, in_context):
    """Every triplet in turn; then the means."""
    known = {}

    def far(i, j):
        if (i, j) not in known:
            (a, b), (c, d) = items[i].frames, items[j].frames
            known[i, j] = loop_distance(frames[a:b], frames[c:d], distance)
        return known[i, j]

    cells = {}
    for x, a, b in itertools.product(range(len(items)), repeat=3):
        of_x, of_a, of_b = items[x], items[a], items[b]
        same = not in_context or of_x.context == of_a.context == of_b.context
        if (x == a or of_x.phone != of_a.phone or of_a.phone == of_b.phone or of_a.speaker != of_b.speaker or not same
                or (of_x.speaker != of_a.speaker) != across or len({of_x.domain, of_a.domain, of_b.domain}) > 1):
            continue
        wrong = 0.5 * (1 + np.sign(far(x, a) - far(x, b)))
        key = (of_a.domain, of_a.phone, of_b.phone, of_a.speaker, of_a.context if in_context else "", of_x.speaker)
        cells.setdefault(key, []).append(wrong)
    by_speaker = {}
    for key, values in cells.items():
        by_speaker.setdefault(key[:4] if in_context else key[:3], []).append(np.mean(values))
    pairs = {}
    for key, values in by_speaker.items():
        pairs.setdefault(key[:3], []).append(np.mean(values))
    return np.mean([np.mean(values) for values in pairs.values()]), sum(map(len, cells.values()))


def tokens(distance, count=36, seed=0, domains=("",)):
    rng = np.random.default_rng(seed)
    items, rows, start = [], [], 0
    for number in range(count):
        phone, length = int(rng.integers(3)), int(rng.integers(1, 6))
        rows.append(rng.standard_normal((length, 1 if distance == "identical" else 4)) + phone * 0.5)
        items.append(Item(f"p{phone}", f"c{rng.integers(2)}", f"s{rng.integers(3)}", (start, start + length),
                          domains[int(rng.integers(len(domains)))]))
        start += length
    frames = np.concatenate(rows)
    if distance == "kl_symmetric":
        frames = np.exp(frames) / np.exp(frames).sum(1, keepdims=True)
    return (np.round(frames) if distance == "identical" else frames), items


@pytest.mark.parametrize("in_context", [True, False])
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_a_plain_loop(distance, across, in_context):
    frames, items = tokens(distance, seed=len(distance))
    wanted, triplets = loop_abx(frames, items, distance, across, in_context)
    found = abx(torch.from_numpy(frames), items, make_cells(items, across, in_context, None, None), distance)
    assert found.triplets == triplets > 50
    assert found.error == pytest.approx(wanted, abs=1e-12)


def test_without_numba_the_same_comes_out(monkeypatch):
    """The compiled paths are those that torch finds side by side, bit for bit, with ties too."""
    for distance, frames, items in ((name, *tokens(name, 7)) for name in ("angular", "euclidean")):
        for values in (frames, np.round(frames) + 0.5):
            cells, values = make_cells(items, True, False, None, None), torch.from_numpy(values).float()
            compiled = abx(values, items, cells, distance)
            with monkeypatch.context() as patch:
                patch.setattr(module, "_compiled", lambda: None)
                batched = abx(values, items, cells, distance)
            assert np.array_equal(compiled.cells, batched.cells) and 0 < compiled.error < 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_paths_equal_batched_ones(dtype):
    """Costs of few kinds have many cheapest paths, of which one counts."""
    mean_costs = pytest.importorskip("speechrep.metrics.compiled_dtw").mean_costs
    rng = np.random.default_rng(2)
    rows, columns = rng.integers(1, 12, 300), rng.integers(1, 9, 300)
    cost = rng.integers(0, 3, (11, 8, 300)).astype(dtype) / 3
    wanted = batch_mean_cost(torch.from_numpy(cost), torch.from_numpy(rows), torch.from_numpy(columns)).numpy()
    found = np.empty(300, dtype)
    mean_costs(np.moveaxis(cost, 2, 0).ravel(), 8, np.arange(300) * 88, rows, columns, found)
    assert np.array_equal(found, wanted)


def test_nothing_is_compared_across_domains():
    frames, items = tokens("euclidean", 60, domains=("es", "fr"))
    wanted, triplets = loop_abx(frames, items, "euclidean", True, True)
    found = abx(torch.from_numpy(frames), items, make_cells(items, True, True, None, None), "euclidean")
    assert found.triplets == triplets and found.error == pytest.approx(wanted, abs=1e-12)
    assert {a.partition(":")[0] == b.partition(":")[0] for a, b in found.pairs} == {True}


TRIPLETS = {(False, True): 17638, (False, False): 643080, (True, True): 51313, (True, False): 1914780}
"""(across speakers, in context) -> triplets of `bench.make(400, 7, ...)`, by fastabx."""
FASTABX = {"angular": (0.3767883, 0.3871851, 0.3964021, 0.3906975), "euclidean": (0.2894306, 0.3093996, 0.3102405, 0.3096385),
           "kl_symmetric": (0.4804175, 0.4937650, 0.4920491, 0.5015643),
           "identical": (0.4380272, 0.4582803, 0.4689361, 0.4521537)}
FASTABX["cosine"] = FASTABX["angular"]
"""Distance -> errors in the order of TRIPLETS, of the same tokens. They are what fastabx 0.9.0 (torchdtw 0.4.2, torch
2.13.0, Python 3.12.1) gave in an environment of its own when
  python test/benchmarks/abx_against_fastabx.py --python PYTHON_WITH_FASTABX --items 400 --dim 7
called its Task and Score: the first number of each line that this prints."""


@pytest.mark.parametrize("across, in_context", TRIPLETS)
@pytest.mark.parametrize("distance", FASTABX)
def test_equals_fastabx(distance, across, in_context):
    error, triplets = bench.ours(*bench.make(400, 7, distance), distance, across, in_context)
    wanted = FASTABX[distance][list(TRIPLETS).index((across, in_context))]
    assert (error, triplets) == (pytest.approx(wanted, abs=1e-6), TRIPLETS[across, in_context])


def test_a_hand_worked_case():
    """Numbers on a line. A group of p: 0, 1; q: 3. d(0,1)=1 < 3 and 2: no error. q: one token only, so q is never A.
    The speaker t says p at 2.5: nearer to q's 3 than to p's 0 and 1, and exactly between 2 and 3 for the tie."""
    values = [0, 1, 3, 2.5]
    items = [Item(phone, "c", speaker, (i, i + 1)) for i, (phone, speaker) in enumerate(["ps", "ps", "qs", "pt"])]
    frames = torch.tensor(values)[:, None]
    within = abx(frames, items, make_cells(items, False), "euclidean")
    assert (within.error, within.pairs, within.triplets) == (0.0, {("p", "q"): 0.0}, 2)
    across = abx(frames, items, make_cells(items, True), "euclidean")
    assert (across.error, across.triplets) == (1.0, 2)
    frames[1] = 2.0
    assert abx(frames, items, make_cells(items, True), "euclidean").error == 0.75


def test_caps_draw_the_same_whatever_else_there_is():
    items = [Item(f"p{i % 2}", "c", f"s{i % 12}", (i, i + 1)) for i in range(480)]
    capped = make_cells(items, True, max_group=7, max_x_speakers=3, seed=1)
    assert {len(group) for group in capped.groups} == {7}
    assert len(capped) == 0  # each speaker says one phone only
    items += [Item("p0", "c", f"s{i}", (0, 1)) for i in range(1, 12, 2)]
    capped = make_cells(items, True, max_group=7, max_x_speakers=3, seed=1)
    counts = np.unique(np.stack([capped.a, capped.b]), axis=1, return_counts=True)[1]
    assert set(counts.tolist()) == {3}
    again = make_cells(items, True, max_group=7, max_x_speakers=3, seed=1)
    other = make_cells(items, True, max_group=7, max_x_speakers=3, seed=2)
    assert all((a == b).all() for a, b in zip(capped.groups, again.groups)) and (capped.x == again.x).all()
    assert any((a != b).any() for a, b in zip(capped.groups, other.groups) if len(a) == len(b))
    more = make_cells([*items, Item("p9", "d", "s99", (0, 1))], True, max_group=7, max_x_speakers=3, seed=1)
    assert all((a == b).all() for a, b in zip(capped.groups, more.groups))


@pytest.mark.parametrize("onset, offset, rate, wanted", [
    (0.1, 0.2, 100, (10, 20)), (0.105, 0.195, 100, (10, 20)), (0.106, 0.1949, 100, (11, 19)),
    (0.2925, 0.4725, 50, (15, 24)), (0.0, 0.01, 50, (0, 1)), (0.0, 0.009, 50, (0, 0)), (0.07, 0.29, 100, (7, 29))])
def test_frames_of_a_token(onset, offset, rate, wanted):
    """Those whose centres lie in it, borders included."""
    assert frame_range(onset, offset, rate) == wanted
    centres = [i for i in range(60) if round(onset * 1e4) * rate <= (i + 0.5) * 1e4 <= round(offset * 1e4) * rate]
    assert centres == list(range(*wanted))


def test_refuses_what_cannot_be_compared():
    items = [Item("p", "c", "s", (0, 1)), Item("p", "c", "s", (1, 2)), Item("q", "c", "s", (2, 3))]
    cells = make_cells(items, False)
    frames = torch.rand(3, 2)
    with pytest.raises(ValueError, match="wanted one of"):
        abx(frames, items, cells, "manhattan")
    with pytest.raises(ValueError, match="not probabilities"):
        abx(frames, items, cells, "kl_symmetric")
    with pytest.raises(ValueError, match="one unit a frame"):
        abx(frames, items, cells, "identical")
    with pytest.raises(ValueError, match="not finite"):
        abx(frames * float("nan"), items, cells)
    with pytest.raises(ValueError, match="no frames"):
        abx(frames, [*items[:2], Item("q", "c", "s", (2, 2))], cells)
    with pytest.raises(ValueError, match="same context"):
        abx(frames, items, make_cells(items, True))


@pytest.mark.parametrize("longest, count, at_once", [(8, 60, 2 ** 16), (8, 60, 50), (32, 30, 2 ** 16), (33, 30, 700),
                                                     (140, 8, 2 ** 16)])
def test_paths_of_units_equal_those_of_their_costs(longest, count, at_once, monkeypatch):
    """In whole numbers of 16 and of 32 bits, in one batch and in many; both ways round, which differ."""
    monkeypatch.setattr(unit_dtw, "AT_ONCE", at_once)
    rng = np.random.default_rng(longest)
    lengths = rng.integers(1, longest + 1, count)
    lengths[0] = longest
    starts = np.cumsum(lengths) - lengths
    units = rng.integers(0, 4, lengths.sum())
    own, other = (side.ravel() for side in np.meshgrid(np.arange(count), np.arange(count)))
    padded = np.stack([units[np.minimum(starts + i, len(units) - 1)] for i in range(longest)])
    cost = torch.from_numpy((padded[:, None, own] != padded[None, :, other]).astype(float))
    wanted = batch_mean_cost(cost, torch.from_numpy(lengths[own]), torch.from_numpy(lengths[other])).numpy()
    found = unit_dtw.unit_mean_cost(units, starts, lengths, own, other)
    assert np.array_equal(found, wanted)
    square = found.reshape(count, count)
    assert not np.array_equal(square, square.T) and (np.diag(square) == 0).all()


def test_batched_paths_equal_single_ones():
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(1, 12, 50), rng.integers(1, 9, 50)
    cost = rng.random((11, 8, 50))
    found = batch_mean_cost(torch.from_numpy(cost), torch.from_numpy(rows), torch.from_numpy(columns))
    for i in range(50):
        steps, _, total = path(cost[:rows[i], :columns[i], i])
        assert found[i] == pytest.approx(total / len(steps), abs=1e-12)
