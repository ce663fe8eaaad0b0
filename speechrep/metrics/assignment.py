"""The best pairing of rows and columns."""

import numpy as np


def best_pairs(gain: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (row, column) of the greatest total gain, each row and column in one at most, sorted; min(n, m) of them.

    gain: finite [n, m]. The Hungarian method by shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987), O(n^2 m).
    """
    gain = np.asarray(gain, dtype=np.float64)
    if gain.shape[0] > gain.shape[1]:
        return sorted((row, column) for column, row in best_pairs(gain.T))
    rows, columns = gain.shape
    cost = -gain
    row_price, column_price = np.zeros(rows + 1), np.zeros(columns + 1)
    # Column `columns` stands for none: the row to be placed hangs there at first.
    owner = np.full(columns + 1, -1)
    for row in range(rows):
        owner[columns], at = row, columns
        nearest, before, done = np.full(columns + 1, np.inf), np.full(columns + 1, columns), np.zeros(columns + 1, bool)
        while owner[at] >= 0:
            done[at] = True
            own = owner[at]
            reduced = cost[own] - row_price[own] - column_price[:columns]
            better = ~done[:columns] & (reduced < nearest[:columns])
            nearest[:columns][better], before[:columns][better] = reduced[better], at
            following = int(np.where(done, np.inf, nearest)[:columns].argmin())
            step = nearest[following]
            row_price[owner[done]] += step
            column_price[done] -= step
            nearest[~done] -= step
            at = following
        while at != columns:
            owner[at], at = owner[before[at]], before[at]
    return sorted((int(owner[column]), column) for column in range(columns) if owner[column] >= 0)
