"""Mel-cepstral distortion (Kubichek 1993), on mel-cepstra of WORLD's spectral envelope."""

import functools

import numpy as np

from speechrep.metrics import dtw

DECIBEL = 10 / np.log(10) * np.sqrt(2)
"""Distance of cepstra -> dB: 10 / ln 10 * sqrt(2 * sum of squares)."""

ORDER_ALPHA = {8000: (17, 0.31), 16000: (23, 0.42), 22050: (34, 0.45), 24000: (34, 0.46), 44100: (39, 0.53),
               48000: (39, 0.55)}
"""Rate -> order and all-pass constant. 16 to 44.1 kHz as ESPnet's evaluate_mcd.py gives them for SPTK's mcep; 8 kHz is
our assumption: alpha is the usual approximation of the mel scale there, the order is that of 16 kHz in proportion to
the width of the band in mel (2146 of 2840). Distortions at different rates cannot be compared."""


def order_alpha(rate_hz: int) -> tuple[int, float]:
    """Order and all-pass constant of the mel-cepstrum at a sampling rate: those of the nearest rate that is listed."""
    return ORDER_ALPHA[min(ORDER_ALPHA, key=lambda known: abs(np.log(known / rate_hz)))]


def mel_cepstrum(power: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """Power spectra [N, F], F = n_fft / 2 + 1, all positive -> mel-cepstra [N, order + 1], c0 first.

    The cepstrum of the log spectrum with its frequency axis warped by the all-pass function of constant `alpha`
    (Oppenheim and Johnson 1972; SPTK's `freqt`). log |H| at the warped frequency w is sum_m c_m cos(m w).
    """
    cepstrum = np.fft.irfft(np.log(power), axis=-1)[:, :power.shape[-1]]
    cepstrum[:, 0] /= 2
    cepstrum[:, -1] /= 2
    return cepstrum @ _warping(power.shape[-1], order, alpha)


@functools.lru_cache(maxsize=8)
def _warping(length: int, order: int, alpha: float) -> np.ndarray:
    """The warping of a cepstrum as a matrix [length, order + 1]: each unit impulse through the recursion of `freqt`."""
    matrix = np.zeros((length, order + 1))
    # The impulse at n is n times delayed: row n follows from row n - 1 by one more all-pass section.
    row = np.zeros(order + 1)
    row[0] = 1.0
    matrix[0] = row
    for n in range(1, length):
        after = np.zeros(order + 1)
        after[0] = alpha * row[0]
        if order > 0:
            after[1] = (1 - alpha**2) * row[0] + alpha * row[1]
        for m in range(2, order + 1):
            after[m] = row[m - 1] + alpha * (row[m] - after[m - 1])
        matrix[n] = row = after
    return matrix


def mel_cepstral_distortion(reference: np.ndarray, hypothesis: np.ndarray, with_c0: bool = False,
                            warp: bool = True) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean distortion in dB along the warping path, and that path.

    reference [N, K], hypothesis [M, K]: mel-cepstra with c0 first. c0, the level, is left out unless `with_c0` (ESPnet
    leaves it in). The path is the one of least distortion; `warp` False compares frame by frame, up to the shorter
    one. Returns (dB, frames of the reference [P], frames of the hypothesis [P]).
    """
    first = 0 if with_c0 else 1
    reference, hypothesis = reference[:, first:], hypothesis[:, first:]
    if warp:
        cost = dtw.distances(reference, hypothesis)
        i, j, _ = dtw.path(cost)
        return float(DECIBEL * cost[i, j].mean()), i, j
    i = np.arange(min(len(reference), len(hypothesis)))
    difference = reference[i] - hypothesis[i]
    return float(DECIBEL * np.sqrt((difference**2).sum(1)).mean()), i, i
