"""Dynamic time warping of many pairs one after another, and the comparison of what it gives, compiled for the processor.
Needs numba (the extra `suite`)."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def mean_costs(cost: np.ndarray, width: int, corners: np.ndarray, rows: np.ndarray, columns: np.ndarray,
               found: np.ndarray) -> None:
    """What `batch_dtw.batch_mean_cost` gives of P pairs, into `found` [P].

    cost: flat; the pair p has cost[corners[p] + i * width + j] for i below rows[p] and j below columns[p], each [P] and
    sizes at least 1. Of equal sums the diagonal step is preferred, then the step in the second sequence.
    """
    infinity = cost.dtype.type(np.inf)
    # A row of the sums along the cheapest paths, and how many cells are on each; a row is written over the one above.
    sums, sizes = np.empty(columns.max(), cost.dtype), np.empty(columns.max(), np.int64)
    for pair in range(len(corners)):
        sums[:] = infinity
        for i in range(rows[pair]):
            at = corners[pair] + i * width
            diagonal, diagonal_size = (cost.dtype.type(0) if i == 0 else infinity), 0
            left, left_size = infinity, 0
            for j in range(columns[pair]):
                up, up_size = sums[j], sizes[j]
                best, size = diagonal, diagonal_size
                if left < best:
                    best, size = left, left_size
                if up < best:
                    best, size = up, up_size
                left, left_size = best + cost[at + j], size + 1
                sums[j], sizes[j] = left, left_size
                diagonal, diagonal_size = up, up_size
        found[pair] = left / left_size


@numba.njit(nogil=True, cache=True)
def count_nearer(found: np.ndarray, at_a: np.ndarray, at_b: np.ndarray, x_sizes: np.ndarray, a_sizes: np.ndarray,
                 b_sizes: np.ndarray, right: np.ndarray) -> None:
    """In how many triplets of each cell X is nearer to A than to B, ties counting one half, into `right` [C].

    found: flat; the distances of a cell's Xs to its As begin at at_a, x_sizes rows of a_sizes, those to its Bs at at_b.
    One that is infinite is nearer to nothing.
    """
    for cell in range(len(at_a)):
        nearer, no_farther = 0, 0
        for x in range(x_sizes[cell]):
            to_b = found[at_b[cell] + x * b_sizes[cell]:at_b[cell] + (x + 1) * b_sizes[cell]]
            for a in range(a_sizes[cell]):
                to_a = found[at_a[cell] + x * a_sizes[cell] + a]
                own, equal = 0, 0
                for distance in to_b:
                    own += to_a < distance
                    equal += to_a <= distance
                nearer += own
                no_farther += equal
        right[cell] = 0.5 * (nearer + no_farther)
