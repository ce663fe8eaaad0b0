"""DNSMOS (Reddy et al. 2021, 2022), a predictor of mean opinion scores, through speechmos.

It was made for noise suppression at 16 kHz: it hears noise and bandwidth better than unnatural prosody.
"""

import functools
from pathlib import Path

import numpy as np

from speechrep.metrics.judges import RATE_HZ, load

PACKAGES = ("speechmos==0.0.1.1", "onnxruntime", "librosa", "requests")
WINDOW_SEC = 9.01
"""What the networks hear at a time; shorter speech is repeated, longer is heard in windows 1 s apart."""


@functools.lru_cache(maxsize=1)
def _model():
    load("onnxruntime", *PACKAGES)
    module = load("speechmos.dnsmos", *PACKAGES)
    models = Path(module.__file__).parent / "dnsmos_models"
    return module.DNSMOS(str(models / "sig_bak_ovr.onnx"), str(models / "model_v8.onnx"))


def ready() -> None:
    """Raise `SpeechrepError` if the packages are missing."""
    _model()


def name() -> str:
    """The judge with its version."""
    return f"DNSMOS ({PACKAGES[0]})"


def p808(samples: np.ndarray) -> float:
    """Predicted P.808 opinion score (1 to 5) of an utterance float32 [T] at 16 kHz: about 0.02 s of computing a second
    of windows, 25 times cheaper than `overall`. Raises `SpeechrepError` if the package is missing."""
    model = _model()
    scores = [model.p808_onnx_sess.run(None, {"input_1": np.float32(model.audio_melspec(window[:-160]))[None]})[0][0][0]
              for window in _windows(samples)]
    return float(np.mean(scores))


def overall(samples: np.ndarray) -> float:
    """Predicted P.835 overall quality (1 to 5) of an utterance float32 [T] at 16 kHz: half a second of computing a
    window. Raises `SpeechrepError` if the package is missing."""
    clipped = np.clip(np.asarray(samples, dtype=np.float32), -1, 1)
    return float(_model()(clipped, RATE_HZ, False)["ovrl_mos"])


def _windows(samples: np.ndarray) -> list[np.ndarray]:
    length = int(WINDOW_SEC * RATE_HZ)
    samples = np.clip(np.asarray(samples, dtype=np.float32), -1, 1)
    if not len(samples):
        raise ValueError("an utterance without samples")
    while len(samples) < length:
        samples = np.append(samples, samples)
    count = int(np.floor(len(samples) / RATE_HZ) - WINDOW_SEC) + 1
    windows = [samples[i * RATE_HZ:int((i + WINDOW_SEC) * RATE_HZ)] for i in range(count)]
    return [window for window in windows if len(window) >= length] or [samples[:length]]
