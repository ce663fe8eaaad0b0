"""Mean and deviation of frames, from sums."""

import numpy as np

CONSTANT_STD = 1e-5
"""A dimension that varies less than this is constant; its std is given as 1, so that nobody divides by zero."""


class Moments:
    """Sums over frames in double precision: `frames`, `total` [D], `squares` [D]."""

    def __init__(self, dim: int):
        self.frames, self.total, self.squares = 0, np.zeros(dim), np.zeros(dim)

    def add(self, matrix: np.ndarray) -> None:
        """Count the frames of `matrix` [N, D]."""
        wide = matrix.astype(np.float64)
        self.frames += len(wide)
        self.total += wide.sum(0)
        self.squares += np.square(wide, out=wide).sum(0)

    def merge(self, values: dict) -> None:
        """Count what another has counted, given as its `plain()`."""
        self.frames += values["frames"]
        self.total += values["total"]
        self.squares += values["squares"]

    def plain(self) -> dict:
        """As plain values for JSON."""
        return {"frames": self.frames, "total": self.total.tolist(), "squares": self.squares.tolist()}

    def mean_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over all frames [D]; std 1 where a dimension is constant."""
        mean = self.total / self.frames
        std = np.sqrt(np.maximum(0, self.squares / self.frames - mean ** 2))
        return mean, np.where(std < CONSTANT_STD, 1.0, std)
