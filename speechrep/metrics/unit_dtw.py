"""Dynamic time warping of sequences of units, many pairs side by side, in whole numbers.

What `speechrep.metrics.batch_dtw` does with costs of 0 (the same unit) and 1 (another). A cell's sum, the step by which
it was reached and the number of steps that are not diagonal stand in one whole number, the sum in its highest bits:
one minimum then chooses by the sum and, of equal ones, by the step. From the steps follows the length of the path.
"""

import numpy as np

AT_ONCE = 2 ** 16
"""Cells of a diagonal, of all pairs that are aligned side by side, at the most: they should stay in the cache."""
WORDS = ((np.uint16, 6), (np.uint32, 14), (np.uint64, 30))
"""Types, and how many of their bits hold the steps; the sum takes the bits above two more, for the kind of step, save the
highest, of the border."""


def unit_mean_cost(units: np.ndarray, starts: np.ndarray, lengths: np.ndarray, own: np.ndarray,
                   other: np.ndarray) -> np.ndarray:
    """Sum of costs along the cheapest path over the cells on it, of items `own` with items `other` [T].

    units: of all frames [F], from 0; starts, lengths: where an item's frames begin and how many they are. Among equal
    paths the one is taken that `batch_mean_cost` takes.
    """
    rows, columns = lengths[own], lengths[other]
    longest = int(max(rows.max(), columns.max()))
    word, bits = next((word, bits) for word, bits in WORDS if 2 * longest <= 2 ** bits and units.max() < 2 ** (bits + 8))
    # What lies behind an item's end is of others, and never on a path that counts.
    padded = units[np.minimum(starts + np.arange(longest)[:, None], len(units) - 1)].astype(word)
    # Sixteen bits are sorted in linear time.
    sizes = (rows * (longest + 1) + columns).astype(np.uint16 if longest < 255 else np.int64)
    order, found, begin = np.argsort(sizes, kind="stable"), np.empty(len(own)), 0
    while begin < len(order):
        now = order[begin:begin + max(1, AT_ONCE // int(rows[order[begin]]))]
        n, m = rows[now], columns[now]
        key = _last_cells(padded[:n.max()].take(own[now], 1), padded[:m.max()].take(other[now], 1), n, m, bits)
        found[now] = (key >> word(bits + 2)) / ((n + m + (key & word(2 ** bits - 1)).astype(np.int64)) // 2)
        begin += len(now)
    return found


def _last_cells(x: np.ndarray, y: np.ndarray, rows: np.ndarray, columns: np.ndarray, bits: int) -> np.ndarray:
    """What stands in the last cell of each pair [P] of units x [N, P] and y [M, P], of which rows and columns [P]
    count."""
    (n, pairs), m, word = x.shape, len(y), x.dtype.type
    border, shift = word(1 << (8 * x.dtype.itemsize - 1)), word(bits + 2)
    one, left, up, no_kind = word(1), word((1 << bits) + 1), word((2 << bits) + 1), ~word(3 << bits)
    backwards = y[::-1]
    # Three diagonals in turn, by i + 1, with a border: two back, one back, now.
    back2, back1, now = (np.full((n + 2, pairs), border, word) for _ in range(3))
    costs, side = (np.empty((min(n, m), pairs), word) for _ in range(2))
    last = rows + columns - 2
    order, ends = np.argsort(last, kind="stable"), np.cumsum(np.bincount(last, minlength=n + m - 1))
    found = np.empty(pairs, word)
    for k in range(n + m - 1):
        low, high = max(0, k - m + 1), min(n, k + 1)
        cost, least, cells = costs[:high - low], side[:high - low], now[low + 1:high + 1]
        np.bitwise_xor(x[low:high], backwards[m - 1 - k + low:m - 1 - k + high], out=cost)
        np.minimum(cost, one, out=cost)
        np.left_shift(cost, shift, out=cost)
        if k == 0:
            cells[:] = cost
        else:
            np.add(back1[low:high], up, out=cells)
            np.add(back1[low + 1:high + 1], left, out=least)
            np.minimum(cells, least, out=cells)
            np.minimum(cells, back2[low:high], out=cells)
            np.bitwise_and(cells, no_kind, out=cells)
            np.add(cells, cost, out=cells)
        now[low], now[high + 1] = border, border
        whose = order[ends[k - 1] if k else 0:ends[k]]
        if len(whose):
            found[whose] = now[rows[whose], whose]
        back2, back1, now = back1, now, back2
    return found
