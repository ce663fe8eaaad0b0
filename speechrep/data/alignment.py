"""The stream `ali`: phones with their END times in seconds, and the same as whole frames."""

import numpy as np

from speechrep.errors import SpeechrepError


def read_ali(line: str) -> tuple[list[str], list[float]]:
    """`SIL 0.1200 DH 0.1600 ...` -> phones and their end times in seconds, which must not fall."""
    words = line.split()
    try:
        ends = [float(word) for word in words[1::2]]
    except ValueError:
        ends = []
    if len(words) % 2 or not words or len(ends) != len(words) // 2 or any(b < a for a, b in zip(ends, ends[1:])):
        raise SpeechrepError(f"alignment '{line[:80]}'", "pairs of a phone and its end in seconds, in rising order")
    return words[0::2], ends


def format_ali(phones: list[str], ends: list[float]) -> str:
    """The line that `read_ali` reads, times to 0.1 ms."""
    return " ".join(f"{phone} {end:.4f}" for phone, end in zip(phones, ends, strict=True))


def frames_per_phone(ends: np.ndarray, num_frames: int, hop_sec: float) -> np.ndarray:
    """Durations in frames that sum to exactly `num_frames`.

    ends: end times in seconds, not falling [U]; the last phone takes what is left. Boundaries are rounded to the
    nearest frame one by one, never durations, so that errors do not add up; a phone much shorter than a frame may
    get none. Returns integers >= 0 [U].
    """
    bounds = np.floor(np.asarray(ends, dtype=np.float64) / hop_sec + 0.5).astype(np.int64)
    bounds = np.minimum(bounds, num_frames)
    bounds[-1] = num_frames
    return np.diff(bounds, prepend=0)
