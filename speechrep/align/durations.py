"""Phone times as whole frames. `read_ali`, `format_ali` and `frames_per_phone` live with the data, see there."""

import numpy as np

from speechrep.data.alignment import format_ali, frames_per_phone, read_ali
from speechrep.data.folder import DataFolder
from speechrep.errors import SpeechrepError

__all__ = ["format_ali", "frames_per_phone", "read_ali", "strided", "folder_durations"]


def strided(durations: np.ndarray, stride: int) -> np.ndarray:
    """Durations after keeping one frame of each `stride`: sums to ceil(sum / stride).

    durations: frames of each phone [U]. The boundaries are rounded, not the durations, so that errors do not add up; a
    phone shorter than the stride may get 0 frames. Raises ValueError for a stride below 1 or a negative duration.
    """
    durations = np.asarray(durations, dtype=np.int64)
    if stride < 1 or (durations < 0).any():
        raise ValueError(f"stride {stride}, durations {durations.tolist()}")
    bounds = np.cumsum(durations)
    total = -(-int(bounds[-1]) // stride) if len(bounds) else 0
    bounds = np.minimum((2 * bounds + stride) // (2 * stride), total)
    if len(bounds):
        bounds[-1] = total
    return np.diff(bounds, prepend=0)


def folder_durations(folder: DataFolder, num_frames: dict[str, int], hop_sec: float) -> dict[str, np.ndarray]:
    """Frames of each phone of each aligned utterance, each summing to exactly its `num_frames`.

    Raises `SpeechrepError` for an utterance whose features are unknown.
    """
    result = {}
    for utt, line in folder.read("ali").items():
        if utt not in num_frames:
            raise SpeechrepError(f"{folder.path}/ali: {utt} has no features", "features of every aligned utterance",
                                 "run stage 3 (dump) again")
        result[utt] = frames_per_phone(np.array(read_ali(line)[1]), num_frames[utt], hop_sec)
    return result
