import numpy as np
import pytest

from speechrep.metrics.bootstrap import mean_interval, ratio_interval


def test_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    value, low, high = mean_interval(values, resamples=4000)
    half = 1.96 * values.std() / 20
    assert value == pytest.approx(values.mean())
    assert low == pytest.approx(value - half, abs=0.02) and high == pytest.approx(value + half, abs=0.02)


def test_agrees_with_a_loop_and_is_repeatable():
    errors, symbols = np.array([1, 0, 3, 2]), np.array([4, 5, 3, 10])
    drawn = np.random.default_rng(0).integers(4, size=(1000, 4))
    loop = [sum(errors[i] for i in row) / sum(symbols[i] for i in row) for row in drawn]
    value, low, high = ratio_interval(errors, symbols)
    assert value == 6 / 22
    assert (low, high) == (pytest.approx(np.quantile(loop, 0.025)), pytest.approx(np.quantile(loop, 0.975)))
    assert ratio_interval(errors, symbols) == (value, low, high)


def test_transform_and_bad_input():
    assert ratio_interval([4.0, 4.0], [1, 1], transform=np.sqrt) == (2.0, 2.0, 2.0)
    # a draw of the empty utterance alone has no ratio and is left out
    assert ratio_interval([1.0, 0.0], [2, 0]) == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="nothing to divide by"):
        ratio_interval([0.0], [0])
    with pytest.raises(ValueError, match="nothing"):
        mean_interval([])
    with pytest.raises(ValueError, match="shapes"):
        ratio_interval([1.0, 2.0], [1.0])


def test_coverage():
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        _, low, high = mean_interval(rng.exponential(1.0, 80), resamples=300)
        inside += low <= 1.0 <= high
    assert 0.87 <= inside / 200 <= 0.99
