import numpy as np
import pytest
import torch

from speechrep.metrics.probe import fit, probe_error


def clouds(seed, n=600, classes=4, dim=6, spread=1.2):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, dim)) * 1.5
    y = rng.integers(classes, size=n)
    return centres[y] + spread * rng.standard_normal((n, dim)), y


def test_agrees_with_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    x, y = clouds(0)
    for penalty in (1e-3, 1e-1):
        weights, biases = fit(torch.from_numpy(x), torch.from_numpy(y), 4, penalty, iterations=500)
        peer = linear.LogisticRegression(C=1 / (penalty * len(y)), max_iter=5000, tol=1e-10).fit(x, y)
        ours = torch.softmax(torch.from_numpy(x) @ weights + biases, 1).numpy()
        np.testing.assert_allclose(ours, peer.predict_proba(x), atol=2e-4)


def test_error_is_that_of_the_best_plane():
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    (x, y), (test_x, test_y) = clouds(0, 2000), clouds(1, 1000)
    found = probe_error(x, y, test_x, test_y)
    peer = 1 - linear.LogisticRegression(max_iter=1000).fit(x, y).score(test_x, test_y)
    assert found.error == pytest.approx(peer, abs=0.015)
    assert found.low < found.error < found.high and found.high - found.low < 0.08
    assert found.error == found.wrong.mean() and (found.n, found.classes) == (1000, 4)
    assert found.chance == pytest.approx(0.75, abs=0.05)
    assert probe_error(x, y, test_x, test_y).error == found.error


def test_scale_and_offset_do_not_matter():
    (x, y), (test_x, test_y) = clouds(0), clouds(1)
    scale, offset = np.array([1e-3, 1, 10, 1e3, 1, 1]), np.array([0, 5, 0, -100, 0, 0])
    plain = probe_error(x, y, test_x, test_y)
    moved = probe_error(x * scale + offset, y, test_x * scale + offset, test_y)
    assert moved.error == pytest.approx(plain.error, abs=0.01)


def test_noise_gives_chance_and_unknown_labels_are_errors():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1500, 5)), rng.integers(5, size=1500)
    found = probe_error(x[:1000], y[:1000], x[1000:], y[1000:])
    assert found.error == pytest.approx(0.8, abs=0.06)
    (x, y), (test_x, test_y) = clouds(0), clouds(1)
    assert probe_error(x, y, test_x, test_y + 10).error == 1.0


def test_interval_goes_by_groups():
    (x, y), (test_x, test_y) = clouds(0), clouds(1)
    hard = np.argsort(probe_error(x, y, test_x, test_y).wrong, kind="stable")
    groups = np.empty(600, dtype=int)
    groups[hard] = np.arange(600) // 60  # all errors fall into a few utterances
    alone, grouped = probe_error(x, y, test_x, test_y), probe_error(x, y, test_x, test_y, test_groups=groups)
    assert grouped.error == alone.error and grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_refusals():
    x, y = clouds(0, 20)
    with pytest.raises(ValueError, match="1 label"):
        probe_error(x, np.zeros(20), x, y)
    with pytest.raises(ValueError, match="not finite"):
        probe_error(x * np.nan, y, x, y)
