import numpy as np
import pytest

from speechrep.metrics.mcd import DECIBEL, mel_cepstral_distortion, mel_cepstrum, order_alpha


def test_hand_worked_distortion():
    # One coefficient differs by 1 everywhere: 10 / ln 10 * sqrt(2) = 6.1418 dB. c0 differs by 5 and does not count.
    reference = np.array([[5.0, 1.0, 2.0]] * 4)
    hypothesis = np.array([[0.0, 2.0, 2.0]] * 6)
    value, i, j = mel_cepstral_distortion(reference, hypothesis)
    assert value == pytest.approx(6.14185, abs=1e-5)
    assert (i[-1], j[-1]) == (3, 5)
    assert mel_cepstral_distortion(reference, hypothesis, with_c0=True)[0] == pytest.approx(DECIBEL * np.sqrt(26))
    # differences 3 and 4 in two coefficients: a distance of 5
    assert mel_cepstral_distortion(np.array([[0.0, 3, 4]]), np.zeros((1, 3)))[0] == pytest.approx(5 * 6.14185, abs=1e-4)


def test_warping_undoes_a_change_of_tempo():
    x = np.random.default_rng(0).standard_normal((20, 8)).cumsum(0)
    slow = np.repeat(x, 2, axis=0)
    assert mel_cepstral_distortion(x, slow)[0] == pytest.approx(0, abs=1e-5)
    assert mel_cepstral_distortion(x, slow, warp=False)[0] > 1


def test_mel_cepstrum_is_the_log_spectrum_on_the_warped_axis():
    # A smooth log spectrum, and the sum of cosines at the warped frequencies that must give it back.
    w = np.linspace(0, np.pi, 257)
    log_magnitude = 0.7 + 0.5 * np.cos(w) - 0.3 * np.cos(2 * w) + 0.1 * np.cos(5 * w)
    alpha = 0.42
    cepstrum = mel_cepstrum(np.exp(2 * log_magnitude)[None], 60, alpha)[0]
    warped = w + 2 * np.arctan(alpha * np.sin(w) / (1 - alpha * np.cos(w)))
    again = np.cos(np.outer(warped, np.arange(61))) @ cepstrum
    np.testing.assert_allclose(again, log_magnitude, atol=1e-6)


def test_without_warping_it_is_the_cepstrum():
    w = np.linspace(0, np.pi, 129)
    cepstrum = mel_cepstrum(np.exp(2 * (0.25 + 0.5 * np.cos(3 * w)))[None], 6, 0.0)[0]
    np.testing.assert_allclose(cepstrum, [0.25, 0, 0, 0.5, 0, 0, 0], atol=1e-9)


def test_order_and_alpha():
    assert order_alpha(16000) == (23, 0.42) and order_alpha(22050) == (34, 0.45)
    assert order_alpha(8000) == (17, 0.31) and order_alpha(7900) == (17, 0.31)
