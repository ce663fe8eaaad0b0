"""sSIMI by hand and against scipy."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from speechrep.metrics.ssimi import POOLINGS, Token, averages, pool, ssimi, word_distance

FRAMES = np.array([[1.0, 5.0], [3.0, 0.0], [2.0, 4.0]])


def test_pooling_by_hand():
    wanted = {"min": [1, 0], "max": [3, 5], "mean": [2, 3], "sum": [6, 9], "last": [2, 4], "second_last": [3, 0]}
    assert set(wanted) == set(POOLINGS)
    for pooling, value in wanted.items():
        np.testing.assert_allclose(pool(FRAMES, pooling), value)
        np.testing.assert_allclose(pool(FRAMES[:1], pooling), FRAMES[0])
    with pytest.raises(ValueError, match="median"):
        pool(FRAMES, "median")
    with pytest.raises(ValueError, match="without frames"):
        pool(FRAMES[:0], "mean")


@pytest.mark.parametrize("seed", range(4))
def test_spearman_is_scipys(seed):
    """With many equal values."""
    rng = np.random.default_rng(seed)
    human, distances = rng.integers(0, 9, 60) / 2, np.round(rng.standard_normal(60), 1)
    assert ssimi(human, distances) == pytest.approx(100 * spearmanr(-human, distances)[0], abs=1e-9)


def test_spearman_by_hand():
    # Ranks of -human 1 2 3, of distances 1 3 2: 1 - 6 * 2 / (3 * 8) = 0.5.
    assert ssimi(np.array([9, 5, 1]), np.array([0.1, 0.8, 0.4])) == pytest.approx(50)
    assert ssimi(np.array([9, 5, 1]), np.array([3, 2, 1])) == pytest.approx(-100)
    assert ssimi(np.array([1, 1, 1]), np.array([3, 2, 1])) == 0
    with pytest.raises(ValueError, match="at least 2"):
        ssimi(np.array([1]), np.array([1]))


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "cityblock", "correlation"])
def test_words_are_compared_within_a_voice(distance):
    rng = np.random.default_rng(0)
    vectors = {name: rng.standard_normal(5) for name in "abcdef"}
    recorded = [[Token(name, "x") for name in "ab"], [Token(name, "y") for name in "cde"]]
    sides = [np.stack([vectors[token.name] for token in side]) for side in recorded]
    assert word_distance(*recorded, vectors, distance) == pytest.approx(cdist(*sides, distance).mean())
    spoken = [[Token("a", "x", "ann"), Token("b", "x", "bob")],
              [Token("c", "y", "ann"), Token("d", "y", "bob"), Token("e", "y", "cat")]]
    wanted = [cdist(vectors[x][None], vectors[y][None], distance)[0, 0] for x, y in ("ac", "bd")]
    assert word_distance(*spoken, vectors, distance) == pytest.approx(np.mean(wanted))
    with pytest.raises(ValueError, match="same voice"):
        word_distance(spoken[0][:1], spoken[1][1:], vectors, distance)
    with pytest.raises(ValueError, match="not a number"):
        word_distance([Token("z", "x")], recorded[1], vectors | {"z": np.zeros(5)}, "cosine")


def test_averages_weigh_by_pairs():
    scores = {("synthetic", "a"): 10.0, ("synthetic", "b"): 40.0, ("librispeech", "a"): -5.0}
    sizes = {("synthetic", "a"): 30, ("synthetic", "b"): 10, ("librispeech", "a"): 7}
    assert averages(scores, sizes) == {"librispeech": (-5.0, -5.0), "synthetic": (25.0, 17.5)}
