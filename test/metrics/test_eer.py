"""EER and minDCF against scikit-learn's ROC, a direct search, and hand-worked cases."""

import numpy as np
import pytest

from speechrep.metrics.bootstrap import draws
from speechrep.metrics.eer import detection_intervals, eer, error_rates, min_dcf
from speechrep.metrics.speaker import adaptive_norm


def trials(seed, n=400, rounded=None):
    rng = np.random.default_rng(seed)
    targets = rng.random(n) < 0.2
    scores = rng.standard_normal(n) + 1.3 * targets
    return (scores if rounded is None else np.round(scores, rounded)), targets


CASES = [trials(0), trials(1, 30), trials(2, 300, 1), trials(3, 50, 0)]


@pytest.mark.parametrize("scores, targets", CASES)
def test_eer_equals_the_root_on_scikit_learns_roc(scores, targets):
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve
    false_alarms, hits, _ = roc_curve(targets, scores, drop_intermediate=False)
    root = brentq(lambda x: 1 - x - interp1d(false_alarms, hits)(x), 0.0, 1.0, xtol=1e-13)
    assert eer(scores, targets)[0] == pytest.approx(root, abs=1e-9)


@pytest.mark.parametrize("scores, targets", CASES)
def test_equals_a_direct_search(scores, targets):
    thresholds = [*sorted(set(scores.tolist())), np.inf]
    rates = [(np.mean([s < t for s in scores[targets]]), np.mean([s >= t for s in scores[~targets]]))
             for t in thresholds]
    misses, false_alarms, found = error_rates(scores, targets)
    np.testing.assert_allclose(np.stack([misses, false_alarms], 1), rates, atol=1e-12)
    assert found.tolist() == thresholds
    for p, c_miss, c_false_alarm in ((0.01, 1, 1), (0.001, 1, 1), (0.5, 10, 1), (0.05, 1, 3)):
        costs = [c_miss * m * p + c_false_alarm * f * (1 - p) for m, f in rates]
        least = min(costs) / min(c_miss * p, c_false_alarm * (1 - p))
        cost, threshold = min_dcf(scores, targets, p, c_miss, c_false_alarm)
        assert cost == pytest.approx(least, abs=1e-12)
        assert threshold == thresholds[int(np.argmin(np.round(costs, 12)))]


def test_hand_worked_cases():
    targets = np.array([True, True, True, True, False, False, False, False])
    # One target below one non-target: at a threshold between them a quarter of each is wrong.
    rate, threshold = eer(np.array([4, 3, 2, 0, 1, -1, -2, -3.0]), targets)
    assert rate == 0.25 and 0 < threshold <= 2
    # All apart: no error. All the other way round: all wrong. All equal: a half.
    assert eer(np.array([4, 4, 5, 6, 1, 2, 3, 0.0]), targets)[0] == 0
    assert eer(-np.array([4, 4, 5, 6, 1, 2, 3, 0.0]), targets)[0] == 1
    assert eer(np.zeros(8), targets) == (0.5, 0.0)
    # Rejecting all costs 1 after normalising; accepting three of four targets without a false alarm a quarter.
    assert min_dcf(np.array([4, 3, 2, 0, 1, -1, -2, -3.0]), targets, 0.01) == (pytest.approx(0.25), 2.0)
    assert min_dcf(-np.array([4, 4, 5, 6, 1, 2, 3, 0.0]), targets, 0.01) == (1.0, np.inf)
    # Kaldi's and SpeechBrain's numbers of the same trials are a hundred times apart at P = 0.01.
    assert 0.01 * min_dcf(np.array([4, 3, 2, 0, 1, -1, -2, -3.0]), targets, 0.01)[0] == pytest.approx(0.0025)


@pytest.mark.parametrize("scores, targets, why", [
    ([1, 2], [True, True], "both kinds"), ([1, 2], [False, False], "both kinds"),
    ([1, np.nan], [True, False], "not finite"),
    ([1, 2, 3], [True, False], "shapes"), ([], [], "both kinds")])
def test_refuses(scores, targets, why):
    with pytest.raises(ValueError, match=why):
        eer(np.array(scores, dtype=float), np.array(targets, dtype=bool))
    with pytest.raises(ValueError, match="within"):
        min_dcf(np.array([1.0, 2.0]), np.array([True, False]), p_target=0.0)


def test_of_equally_cheap_thresholds_the_least_is_taken():
    """Counts that weigh the same are rates that differ in their last digits."""
    rng = np.random.default_rng(2989)
    for _ in range(300):
        scores, targets = rng.integers(0, 12, 40) / 10, rng.random(40) < 0.4
        targets[:2] = True, False
        found = min_dcf(scores, targets, 0.5)
        costs = {threshold: (np.sum(targets & (scores < threshold)) * (~targets).sum()
                             + np.sum(~targets & (scores >= threshold)) * targets.sum())
                 for threshold in (*np.unique(scores), np.inf)}
        assert found[1] == min(threshold for threshold, cost in costs.items() if cost == min(costs.values()))


def test_who_is_not_of_the_cohort_counts_nowhere():
    rng = np.random.default_rng(0)
    score, sides = rng.random(6), rng.random((2, 6, 9))
    own = np.where(np.arange(9) == np.arange(6)[:, None], np.nan, sides)
    for top in (4, 300):
        plain = [float(adaptive_norm(score[i:i + 1], *(np.delete(side[i:i + 1], i, axis=1) for side in sides), top)[0])
                 for i in range(6)]
        np.testing.assert_allclose(adaptive_norm(score, *own, top), plain)
    with pytest.raises(ValueError, match="a cohort of 1"):
        adaptive_norm(score, *np.where(np.arange(9) > 0, np.nan, sides))


def test_intervals_draw_groups_with_all_their_trials():
    scores, targets = trials(5, 200, 1)
    groups = [f"g{number}" for number in np.random.default_rng(1).integers(12, size=200)]
    names = sorted(set(groups))
    members = [np.flatnonzero(np.array(groups) == name) for name in names]
    drawn = [np.concatenate([members[i] for i in row]) for row in draws(len(names))]
    found = detection_intervals(scores, targets, groups)
    for name, function in (("eer", eer), ("min_dcf_0.01", lambda s, t: min_dcf(s, t, 0.01)),
                           ("min_dcf_0.001", lambda s, t: min_dcf(s, t, 0.001))):
        values = [function(scores[some], targets[some])[0] for some in drawn]
        assert found[name] == pytest.approx((function(scores, targets)[0], *np.quantile(values, [0.025, 0.975])), abs=1e-9)
    # A trial a group of its own and a resample without targets is left out.
    few = detection_intervals(np.array([1.0, 0.0, 0.5]), np.array([True, False, False]), ["a", "b", "c"])
    assert few["eer"][0] == 0 and np.isfinite(few["eer"]).all()


def test_adaptive_norm_is_a_plain_loop():
    rng = np.random.default_rng(0)
    score, enrolled, tested = rng.standard_normal(6), rng.standard_normal((6, 20)), rng.standard_normal((6, 20))
    for top in (5, 20, 300):
        expected = []
        for s, e, t in zip(score, enrolled, tested):
            sides = [sorted(side, reverse=True)[:top] for side in (e, t)]
            expected.append(np.mean([(s - np.mean(side)) / np.std(side) for side in sides]))
        np.testing.assert_allclose(adaptive_norm(score, enrolled, tested, top), expected)
    with pytest.raises(ValueError, match="cohort of 1"):
        adaptive_norm(score, enrolled[:, :1], tested[:, :1])
    with pytest.raises(ValueError, match="all equal"):
        adaptive_norm(score, np.ones((6, 4)), tested)
