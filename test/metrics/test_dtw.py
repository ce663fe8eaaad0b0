import itertools

import numpy as np
import pytest

from speechrep.metrics import dtw


def brute(cost):
    """The least sum over all monotone paths, by recursion."""
    n, m = cost.shape
    table = np.full((n, m), np.inf)
    for i, j in itertools.product(range(n), range(m)):
        before = [table[i - 1, j - 1]] * (i > 0 and j > 0) + [table[i - 1, j]] * (i > 0) + [table[i, j - 1]] * (j > 0)
        table[i, j] = cost[i, j] + (min(before) if before else 0)
    return table[-1, -1]


@pytest.mark.parametrize("n, m", [(1, 1), (1, 5), (6, 1), (2, 2), (7, 7), (13, 5), (4, 17)])
def test_cheapest_and_a_path(n, m):
    for seed in range(5):
        cost = np.random.default_rng(seed).random((n, m))
        i, j, total = dtw.path(cost)
        assert total == pytest.approx(brute(cost), abs=1e-12)
        assert cost[i, j].sum() == pytest.approx(total, abs=1e-12)
        assert (i[0], j[0], i[-1], j[-1]) == (0, 0, n - 1, m - 1)
        steps = set(zip(np.diff(i).tolist(), np.diff(j).tolist()))
        assert steps <= {(1, 1), (1, 0), (0, 1)}


def test_hand_worked_path():
    x = np.array([[0.0], [1], [2]])
    y = np.array([[0.0], [0], [1], [2], [2]])
    i, j, total = dtw.path(dtw.distances(x, y))
    assert total == 0
    assert list(zip(i.tolist(), j.tolist())) == [(0, 0), (0, 1), (1, 2), (2, 3), (2, 4)]
    with pytest.raises(ValueError, match="nothing to align"):
        dtw.path(np.zeros((0, 3)))


def test_agrees_with_librosa():
    librosa = pytest.importorskip("librosa", reason="librosa is not installed")
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((60, 13)), rng.standard_normal((45, 13))
    total, _ = librosa.sequence.dtw(x.T, y.T)
    assert dtw.path(dtw.distances(x, y))[2] == pytest.approx(total[-1, -1], rel=1e-9)


def test_distances_agree_with_scipy():
    distance = pytest.importorskip("scipy.spatial.distance", reason="scipy is not installed")
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((20, 5)), rng.standard_normal((30, 5))
    np.testing.assert_allclose(dtw.distances(x, y), distance.cdist(x, y), atol=1e-9)
