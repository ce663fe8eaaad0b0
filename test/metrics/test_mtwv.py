"""Term-weighted values by hand and by trying every threshold."""

import numpy as np
import pytest

from speechrep.metrics.mtwv import UNREPORTED, beta, mtwv, term_weighted_value

SCORES = np.array([[3.0, 2.0, 1.0, 0.0], [2.5, 0.5, 0.2, 0.1], [9.0, 9.0, 9.0, 9.0]])
HITS = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)


def test_beta():
    """12.49, and NIST's 999.9 of 2006 (C / V = 0.1, P = 1e-4)."""
    assert beta() == pytest.approx(12.49)
    assert beta(1e-4, 0.1, 1.0) == pytest.approx(999.9)


def test_by_hand():
    """At 1: the first query has both hits and 1 false alarm of 2, the second its hit missed and 1 of 3; the third, which no
    document holds, is not counted."""
    found = term_weighted_value(SCORES, HITS, 1.0, weight=0.6)
    assert found.queries.tolist() == [0, 1]
    np.testing.assert_allclose(found.misses, [0, 1])
    np.testing.assert_allclose(found.alarms, [1 / 2, 1 / 3])
    np.testing.assert_allclose(found.values, [1 - 0.3, -0.2])
    assert found.value == pytest.approx(0.25)
    # The best: at 0.5, where the second is found too: (0.7 + 0.8) / 2.
    best = mtwv(SCORES, HITS, weight=0.6)
    assert (best.value, best.threshold) == (pytest.approx(0.75), 0.5)
    # With QUESST's weight a false alarm costs more than any hit brings: only the first trial is detected, 1/2 of 1 of 2.
    best = mtwv(SCORES, HITS)
    assert (best.value, best.threshold) == (pytest.approx(0.25), 3.0)


def test_nothing_is_worth_0():
    """Where every threshold loses, nothing is detected."""
    best = mtwv(-SCORES[:2], HITS[:2])
    assert best.value == 0 and best.threshold == np.inf
    assert best.misses.tolist() == [1, 1] and best.alarms.tolist() == [0, 0]
    assert mtwv(HITS[:2].astype(float), HITS[:2]).value == 1
    # Equal scores are detected together.
    assert mtwv(np.zeros((1, 2)), np.array([[True, False]]), weight=0.25).value == pytest.approx(0.75)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    hits = rng.random((7, 40)) < 0.15
    hits[0] = False
    trials = rng.random((7, 40)) < 0.8
    scores = np.round(rng.standard_normal((7, 40)) + 1.5 * hits, 1)

    def plain(threshold):
        values = []
        for q in range(7):
            targets = [d for d in range(40) if trials[q, d] and hits[q, d]]
            others = [d for d in range(40) if trials[q, d] and not hits[q, d]]
            if targets:
                miss = sum(scores[q, d] < threshold for d in targets) / len(targets)
                alarm = sum(scores[q, d] >= threshold for d in others) / len(others)
                values.append(1 - miss - 1.5 * alarm)
        return sum(values) / len(values)

    wanted = {threshold: plain(threshold) for threshold in [np.inf, *np.unique(scores[trials])]}
    found = mtwv(scores, hits, trials=trials, weight=1.5)
    assert found.value == pytest.approx(max(wanted.values())) and found.value > 0
    for threshold, value in wanted.items():
        assert term_weighted_value(scores, hits, threshold, trials=trials, weight=1.5).value == pytest.approx(value)


def test_unreported_hits_cap_the_value():
    """A query of which 3 of 4 hits were not reported can have 1/4 at most."""
    scores = np.array([[5.0, 1.0, 0.0, UNREPORTED, UNREPORTED, UNREPORTED]])
    hits = np.array([[True, False, False, True, True, True]])
    assert mtwv(scores, hits).value == pytest.approx(0.25)
    assert mtwv(scores[:, :3], hits[:, :3]).value == 1


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="no query has a hit"):
        mtwv(SCORES[2:], HITS[2:])
    with pytest.raises(ValueError, match="not a number"):
        mtwv(SCORES * np.nan, HITS)
    with pytest.raises(ValueError, match="shapes"):
        mtwv(SCORES, HITS[:2])
