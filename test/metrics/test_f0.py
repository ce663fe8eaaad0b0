import numpy as np
import pytest

from speechrep.metrics.f0 import duration_errors, pitch_errors


def test_hand_worked_pitch_errors():
    reference = np.array([0.0, 100, 200, 100, 0, 0])
    hypothesis = np.array([0.0, 200, 200, 0, 120, 0])
    found = pitch_errors(reference, hypothesis)
    assert (found.frames, found.voicing_errors, found.voiced) == (6, 2, 2)
    assert found.square_log == pytest.approx(np.log(2)**2)
    assert found.square_hz == 10000
    assert found.correlation is None


def test_correlation_agrees_with_numpy():
    rng = np.random.default_rng(0)
    x, y = 100 + 50 * rng.random(30), 100 + 50 * rng.random(30)
    assert pitch_errors(x, y).correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pitch_errors(x, 2 * x).correlation == pytest.approx(1)
    assert pitch_errors(x, np.full(30, 90.0)).correlation is None
    with pytest.raises(ValueError):
        pitch_errors(x, y[:-1])


def test_duration_errors():
    true = (["SIL", "K", "AE1", "T", "SIL"], [0.1, 0.2, 0.35, 0.4, 0.5])
    ours = (["K", "AE0", "SIL", "T"], [0.11, 0.21, 0.31, 0.41])
    np.testing.assert_allclose(duration_errors(true, ours), [10, 50, 50], atol=1e-9)
    assert duration_errors(true, (["K", "T"], [0.1, 0.2])) is None
