"""Whose voice is it: cosines of speaker embeddings."""

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
