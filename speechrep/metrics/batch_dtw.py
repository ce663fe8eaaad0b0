"""Dynamic time warping of many pairs side by side, in torch."""

import torch


def batch_mean_cost(cost: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Sum of costs along the cheapest path over the cells on it, for P pairs of sequences at once: [P].

    cost: [N, M, P], pairs last; rows, columns: how much of it belongs to each pair [P], at least 1; what lies beyond
    may be anything finite. Steps as in `path`; the path is that which backtracking finds when among equals it prefers
    the diagonal step, then the step in the second sequence (as fastabx does). By anti-diagonals, forwards only: each
    cell carries the length of its path.
    """
    n, m, pairs = cost.shape
    flat = cost.reshape(n * m, pairs)
    infinity = float("inf")
    # Three diagonals in turn, by i + 1, each with a border of infinity: two back, one back, now.
    sums = [torch.full((n + 2, pairs), infinity, dtype=cost.dtype, device=cost.device) for _ in range(3)]
    sizes = [torch.zeros(n + 2, pairs, dtype=cost.dtype, device=cost.device) for _ in range(3)]
    last = (rows + columns - 2).to(cost.device)
    order = last.argsort()
    ends = torch.bincount(last, minlength=n + m - 1).tolist()
    found = torch.empty(pairs, dtype=cost.dtype, device=cost.device)
    done = 0
    for k in range(n + m - 1):
        low, high = max(0, k - m + 1), min(n, k + 1)
        here = flat[k + low * (m - 1):k + (high - 1) * (m - 1) + 1:m - 1] if m > 1 else flat[low:high]
        (back2, back1, now), (size2, size1, size) = sums, sizes
        if k == 0:
            now[1], size[1] = here[0], 1
        else:
            diagonal, up, left = back2[low:high], back1[low:high], back1[low + 1:high + 1]
            side = torch.minimum(up, left)
            # lerp by 0 or 1 chooses exactly, and several times as fast as where.
            chosen = torch.le(left, up, out=torch.empty_like(side))
            side_size = torch.lerp(size1[low:high], size1[low + 1:high + 1], chosen)
            torch.le(diagonal, side, out=chosen)
            torch.lerp(side_size, size2[low:high], chosen, out=size[low + 1:high + 1]).add_(1)
            torch.add(torch.minimum(diagonal, side, out=side), here, out=now[low + 1:high + 1])
        now[low], now[high + 1] = infinity, infinity
        if ends[k]:
            whose = order[done:done + ends[k]]
            at = rows[whose].to(cost.device)
            found[whose] = now[at, whose] / size[at, whose]
            done += ends[k]
        sums, sizes = [back1, now, back2], [size1, size, size2]
    return found
