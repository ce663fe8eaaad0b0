"""Whose voice is it: cosines of speaker embeddings, and a voice as the mean of its embeddings of length 1 (Wan et al. 2018,
arXiv 1710.10467, whose encoder is resemblyzer's)."""

import numpy as np


def cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosine of the last axes of x [..., D] and y [..., D]; 0 where one of them is zero."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    norms = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    return (x * y).sum(-1) / np.where(norms > 0, norms, 1.0)


def centroid(embeddings: np.ndarray) -> np.ndarray:
    """The mean [D] of embeddings [U, D], each scaled to length 1 first; scaled to length 1 itself."""
    embeddings = np.asarray(embeddings, dtype=np.float64)
    mean = (embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)).mean(0)
    return mean / max(np.linalg.norm(mean), 1e-12)


def adaptive_norm(score: np.ndarray, enrolled: np.ndarray, tested: np.ndarray, top: int = 300) -> np.ndarray:
    """Scores of verification [n] normalised by how alike their two sides are to a cohort of other speakers (AS-norm).

    enrolled, tested [n, M]: scores of each side with the M of the cohort, NaN with one who is not of the trial's, such as
    its own speakers. The mean over both sides of
    (score - mean) / standard deviation, those of the side's `top` highest scores (all where there are fewer): AS-norm1 of
    Matejka et al. 2017, after Cumani et al. 2011. Raises ValueError for a cohort of one or a side to which all are alike.
    """
    score = np.asarray(score, dtype=np.float64)
    sides = []
    for side in (np.asarray(enrolled, dtype=np.float64), np.asarray(tested, dtype=np.float64)):
        least = min(top, int((~np.isnan(side)).sum(1).min(initial=top)))
        if least < 2:
            raise ValueError(f"a cohort of {least}, wanted two or more")
        # NaN is sorted behind all numbers.
        highest = -np.sort(-side, axis=1)[:, :top]
        spread = np.nanstd(highest, axis=1)
        if not (spread > 0).all():
            raise ValueError("a cohort whose scores are all equal")
        sides.append((score - np.nanmean(highest, axis=1)) / spread)
    return (sides[0] + sides[1]) / 2
