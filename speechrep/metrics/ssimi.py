"""sSIMI: do distances of words' features go with people's judgements of how alike the words are?

ZeroSpeech 2021 (Nguyen et al. 2020, "The Zero Resource Speech Benchmark 2021", section 3.4): each token's frames are
pooled to a vector; the distance of two words is the mean over pairs of their tokens; the score of a set of pairs is
100 times Spearman's correlation of the distances with the negative human judgements. As the benchmark's scorer has it,
synthetic tokens are compared within a voice only, those cut from recordings all with all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

POOLINGS = ("min", "max", "mean", "sum", "last", "second_last")
"""Over the frames of a token."""


@dataclass(frozen=True)
class Token:
    """A recording of a word; `voice` is "" where any may be compared."""

    name: str
    word: str
    voice: str = ""


def pool(frames: np.ndarray, pooling: str) -> np.ndarray:
    """Frames [N, D] as a vector [D]; the second last of a single frame is that frame. Raises ValueError for another
    pooling and where there is no frame."""
    if pooling not in POOLINGS:
        raise ValueError(f"pooling: '{pooling}', wanted one of {POOLINGS}")
    frames = np.asarray(frames, dtype=np.float64)
    if not len(frames):
        raise ValueError("a token without frames")
    if pooling == "last":
        return frames[-1]
    if pooling == "second_last":
        return frames[max(len(frames) - 2, 0)]
    return {"min": np.min, "max": np.max, "mean": np.mean, "sum": np.sum}[pooling](frames, axis=0)


def word_distance(first: Sequence[Token], second: Sequence[Token], vectors: Mapping[str, np.ndarray],
                  distance: str = "euclidean") -> float:
    """Mean distance of the tokens of two words that share a voice. vectors: token -> vector [D]; distance: a name that
    scipy's cdist knows. Raises ValueError where no two tokens can be compared and for a distance that is not a number."""
    from scipy.spatial.distance import cdist
    total, count = 0.0, 0
    for voice in sorted({token.voice for token in first} & {token.voice for token in second}):
        sides = [np.stack([vectors[token.name] for token in side if token.voice == voice]) for side in (first, second)]
        values = cdist(*sides, metric=distance)
        total, count = total + values.sum(), count + values.size
    if not count:
        raise ValueError("no two tokens with the same voice")
    if not np.isfinite(total):
        raise ValueError(f"a distance ({distance}) that is not a number: a vector of zeros, or all alike?")
    return float(total / count)


def ssimi(human: np.ndarray, distances: np.ndarray) -> float:
    """100 times Spearman's correlation of -human with distances, [P] each; ranks of equals are their mean.

    Where either has one value only there is no order to agree with: 0. Raises ValueError for fewer than two pairs."""
    human, distances = (np.asarray(values, dtype=np.float64) for values in (human, distances))
    if human.shape != distances.shape or human.ndim != 1 or len(human) < 2:
        raise ValueError(f"shapes {human.shape} and {distances.shape}, wanted two of [P], P at least 2")
    ranks = [_ranks(values) for values in (-human, distances)]
    centred = [values - values.mean() for values in ranks]
    scale = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float(100 * (centred[0] * centred[1]).sum() / scale) if scale > 0 else 0.0


def averages(scores: Mapping[tuple[str, str], float], sizes: Mapping[tuple[str, str], int]) -> dict[str, tuple[float, float]]:
    """Type -> the mean over its datasets, and the mean weighted by how many pairs each has. scores, sizes: by (type,
    dataset)."""
    found = {}
    for kind in sorted({kind for kind, _ in scores}):
        keys = [key for key in scores if key[0] == kind]
        values, weights = np.array([scores[key] for key in keys]), np.array([sizes[key] for key in keys])
        found[kind] = (float(values.mean()), float((values * weights).sum() / weights.sum()))
    return found


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1; equal values share the mean of their ranks [P]."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[place]
