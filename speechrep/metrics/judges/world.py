"""WORLD (Morise et al. 2016) through pyworld: pitch and spectral envelope, for MCD and F0 errors."""

import numpy as np

from speechrep.metrics.judges import load
from speechrep.metrics.mcd import mel_cepstrum, order_alpha

PACKAGE = "pyworld==0.3.5"
HOP_MS = 5.0
FLOOR_HZ, CEIL_HZ = 60.0, 600.0


def ready() -> None:
    """Raise `SpeechrepError` if the package is missing."""
    load("pyworld", PACKAGE, "'setuptools<81'")


def analyse(samples: np.ndarray, rate_hz: int, tracker: str = "dio") -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz [N], 0 where unvoiced, and mel-cepstra [N, order + 1], c0 first, every 5 ms of speech [T].

    tracker: "dio", with the refinement of StoneMask (0.004 x real time), or "harvest" (0.2 x real time, finds more
    voiced frames), which ESPnet's scripts use. Raises `SpeechrepError` if the package is missing.
    """
    pyworld = load("pyworld", PACKAGE, "'setuptools<81'")
    samples, f0, times = find_pitch(samples, rate_hz, tracker)
    power = pyworld.cheaptrick(samples, f0, times, rate_hz)
    return f0, mel_cepstrum(power, *order_alpha(rate_hz))


def find_pitch(samples: np.ndarray, rate_hz: int, tracker: str = "dio") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples [T] in double precision as WORLD can take them, F0 in Hz [N], 0 where unvoiced, and the times of its
    frames in seconds [N]. Arguments and errors are those of `analyse`."""
    pyworld = load("pyworld", PACKAGE, "'setuptools<81'")
    # A spectrum without any energy has no logarithm: noise at -100 dB stands in for digital silence.
    samples = np.asarray(samples, dtype=np.float64)
    samples = samples + 1e-5 * np.random.default_rng(0).standard_normal(len(samples))
    find = pyworld.harvest if tracker == "harvest" else pyworld.dio
    f0, times = find(samples, rate_hz, f0_floor=FLOOR_HZ, f0_ceil=CEIL_HZ, frame_period=HOP_MS)
    if tracker != "harvest":
        f0 = pyworld.stonemask(samples, f0, times, rate_hz)
    return samples, f0, times
