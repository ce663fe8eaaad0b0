"""Resemblyzer (a GE2E speaker encoder, Wan et al. 2018) as an independent judge of voices."""

import functools

import numpy as np

from speechrep.metrics.judges import RATE_HZ, load

PACKAGE = "resemblyzer==0.1.4"


@functools.lru_cache(maxsize=1)
def _encoder():
    return load("resemblyzer", PACKAGE, "'setuptools<81'").VoiceEncoder("cpu", verbose=False)


def ready() -> None:
    """Raise `SpeechrepError` if the package is missing."""
    _encoder()


def name() -> str:
    """The judge with its version."""
    return f"resemblyzer ({PACKAGE})"


def embed(samples: np.ndarray) -> np.ndarray:
    """The voice of an utterance float32 [T] at 16 kHz: [256] of length 1.

    Level is normalised and long pauses are cut, as the encoder was trained; an utterance in which no speech is found
    goes in whole. Raises `SpeechrepError` if the package is missing.
    """
    encoder = _encoder()
    speech = load("resemblyzer", PACKAGE).preprocess_wav(np.asarray(samples, dtype=np.float32), source_sr=RATE_HZ)
    return encoder.embed_utterance(speech if len(speech) >= RATE_HZ // 4 else np.asarray(samples, dtype=np.float32))
