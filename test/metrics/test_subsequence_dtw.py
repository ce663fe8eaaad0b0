"""Subsequence DTW against a plain loop, dtw-python, and by hand."""

import numpy as np
import pytest
import torch

from speechrep.metrics import subsequence_dtw
from speechrep.metrics.subsequence_dtw import match

FROZEN = [0.09381149834289047, 0.10286026570901302, 0.1028246152297639, 0.11103826933213908, 0.13703027721194816]
"""What dtw-python 1.9.0 says of the pairs of `test_dtw_python`, should it not be installed."""


def plain(query, document, distance):
    """One pair, cell by cell, in float64."""
    if distance == "euclidean":
        cost = np.sqrt(((query[:, None] - document[None]) ** 2).sum(-1))
    else:
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, document)]
        cost = 1 - unit[0] @ unit[1].T
        cost = np.exp(cost) - 1 if distance == "cosine_exp" else cost
    low, high = cost.min(1, keepdims=True), cost.max(1, keepdims=True)
    cost = (cost - low) / np.maximum(high - low, 1e-9)
    total = cost.copy()
    for i in range(1, len(cost)):
        for j in range(cost.shape[1]):
            total[i, j] = cost[i, j] + min(total[i - 1, k] for k in (j, j - 1, j - 2) if k >= 0)
    return total[-1].min() / len(cost), cost


def some(seed, count, shortest, longest, dim=6):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((int(n), dim)) for n in rng.integers(shortest, longest, count)]


@pytest.mark.parametrize("distance", subsequence_dtw.DISTANCES)
@pytest.mark.parametrize("dtype, near", [(torch.float64, 1e-10), (torch.float32, 2e-6)])
def test_every_pair_is_that_of_a_plain_loop(monkeypatch, distance, dtype, near):
    """Whatever documents and queries share a product."""
    queries, documents = some(0, 5, 1, 9), some(1, 9, 1, 30)
    wanted = np.array([[plain(q, d, distance)[0] for d in documents] for q in queries])
    for columns, rows in ((1, 1), (60, 10), (2 ** 15, 256)):
        monkeypatch.setattr(subsequence_dtw, "COLUMNS", columns)
        monkeypatch.setattr(subsequence_dtw, "ROWS", rows)
        found = match([torch.from_numpy(q).to(dtype) for q in queries],
                      [torch.from_numpy(d).to(dtype) for d in documents], [len(d) for d in documents], distance)
        np.testing.assert_allclose(found, wanted, atol=near)


def test_dtw_python():
    """The peer's own number for costs that the plain loop made, and ours for the frames behind them."""
    queries, documents = some(2, 5, 5, 20), some(3, 5, 20, 60)
    found = match([torch.from_numpy(q) for q in queries], [torch.from_numpy(d) for d in documents],
                  [len(d) for d in documents]).diagonal()
    np.testing.assert_allclose(found, FROZEN, atol=1e-10)
    dtw = pytest.importorskip("dtw").dtw
    theirs = [dtw(x=plain(q, d, "cosine_exp")[1], step_pattern="asymmetric", open_begin=True,
                  open_end=True).normalizedDistance for q, d in zip(queries, documents)]
    np.testing.assert_allclose(theirs, FROZEN, atol=1e-12)


def test_by_hand():
    """Distances 0, 1 and 2 between points on a line: scaled rows, and a path that stays, steps and skips."""
    query = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    document = torch.tensor([[4.0], [0.0], [2.0], [9.0], [3.0]], dtype=torch.float64)
    # Rows |q - d|: 4 0 2 9 3 | 3 1 1 8 2 | 1 3 1 6 0, scaled: .. 0 2/9 .. | 2/7 0 0 1 1/7 | 1/6 1/2 1/6 1 0.
    # Frames 1, 2 and 4: 0 + 0 + 0.
    assert match([query], [document], [5], "euclidean").item() == 0
    # In reverse no way back: 3 -> 1/6 of the first frame, 1 -> 0, 0 -> 0.
    assert match([query.flip(0)], [document], [5], "euclidean").item() == pytest.approx((1 / 6 + 0 + 0) / 3)


def test_a_query_is_found_in_itself_and_a_frame_of_zeros_is_far_from_all():
    (query,), (document,) = some(4, 1, 8, 9), some(5, 1, 40, 41)
    document[11:11 + len(query)] = query
    found = match([torch.from_numpy(query)], [torch.from_numpy(document)], [40])
    assert found.item() == pytest.approx(0, abs=1e-12)
    query[0] = 0
    assert np.isfinite(match([torch.from_numpy(query)], [torch.from_numpy(document)], [40])).all()


def test_what_cannot_be_matched_is_refused():
    frames = torch.ones(3, 2)
    with pytest.raises(ValueError, match="angular"):
        match([frames], [frames], [3], "angular")
    with pytest.raises(ValueError, match="without frames"):
        match([frames, frames[:0]], [frames], [3])
