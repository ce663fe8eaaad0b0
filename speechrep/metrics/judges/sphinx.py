"""PocketSphinx as a second, very different recogniser for English: GMM-HMMs and a trigram; its models ship with it."""

import functools

import numpy as np

from speechrep.metrics.judges import RATE_HZ, load

PACKAGE = "pocketsphinx==5.1.1"


@functools.lru_cache(maxsize=1)
def _decoder():
    return load("pocketsphinx", PACKAGE).Decoder(samprate=RATE_HZ, loglevel="FATAL", cmn="batch")


def ready() -> None:
    """Raise `SpeechrepError` if the package is missing."""
    _decoder()


def name() -> str:
    """The judge with its version."""
    return f"pocketsphinx en-us ({PACKAGE})"


def languages() -> tuple[str, ...]:
    """English only."""
    return ("en",)


def transcribe(audio: list[np.ndarray], lang: str = "en") -> list[str]:
    """English texts of utterances float32 [T] at 16 kHz, in lower case, "" where nothing was recognised.

    Raises `SpeechrepError` if the package is missing.
    """
    # With the mean of each utterance (cmn "batch") no utterance depends on those before it.
    decoder = _decoder()
    texts = []
    for samples in audio:
        decoder.start_utt()
        decoder.process_raw(np.int16(np.clip(samples, -1, 1) * 32767).tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        texts.append(found.hypstr if found else "")
    return texts
