"""Dynamic time warping, whole sequence against whole sequence."""

import numpy as np


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distance of every frame of x [N, D] to every frame of y [M, D]: [N, M]."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0))


def path(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The cheapest monotone path from corner to corner of `cost` [N, M].

    Steps: one frame on in both, in the first, or in the second, each at the cost of the cell it enters (librosa's
    default, Sakoe and Chiba's symmetric form without weights); the diagonal step is preferred among equals. Computed
    by anti-diagonals, whose cells do not depend on each other. Returns the frames of the first and of the second
    sequence along the path, [P] each, and the sum of costs. Raises ValueError for an empty matrix.
    """
    cost = np.ascontiguousarray(cost, dtype=np.float64)
    n, m = cost.shape
    if not n or not m:
        raise ValueError(f"nothing to align: {n} and {m} frames")
    flat = cost.ravel()
    # best1 and best2 hold the two diagonals before, by i + 1, with a border of infinity.
    best1, best2 = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    steps = np.zeros((n + m - 1, n), dtype=np.uint8)
    total = 0.0
    for k in range(n + m - 1):
        low, high = max(0, k - m + 1), min(n, k + 1)
        here = flat[k - low + low * m:(high - 1) * m + k - high + 2:max(m - 1, 1)] if m > 1 else flat[low:high]
        now = np.full(n + 1, np.inf)
        if k == 0:
            now[1] = here[0]
        else:
            choices = np.stack([best2[low:high], best1[low:high], best1[low + 1:high + 1]])
            step = choices.argmin(0)
            steps[k, low:high] = step
            now[low + 1:high + 1] = here + choices[step, np.arange(high - low)]
        best1, best2 = now, best1
        total = now[n]
    i, j = n - 1, m - 1
    first, second = [i], [j]
    while i or j:
        step = steps[i + j, i]
        i, j = i - (step != 2), j - (step != 1)
        first.append(i)
        second.append(j)
    return np.array(first[::-1]), np.array(second[::-1]), float(total)
