"""Margin ranking between two sets of vectors of which the i-th of one belongs to the i-th of the other."""

import torch

from speechrep.nn.contrastive import _gather


def triplet_ranking(a: torch.Tensor, b: torch.Tensor, groups: torch.Tensor, priority: torch.Tensor, margin: float = 1.0,
                    gather: bool = True) -> torch.Tensor:
    """Sum over rows and both directions of max(0, margin + s(impostor) - s(own)), s the dot product, for two
    impostors a row: one drawn at random, and the semi-hard one, the closest of those that are further off than its
    own (Harwath et al., arXiv 1911.09602, 3.1). Where none is further off, the random one counts alone.

    a, b: paired vectors [M, D]. groups [M]: rows with equal numbers are no impostors of each other. priority [M]:
    uniform draws in [0, 1), one a row. gather: under torch.distributed impostors come from all processes.
    """
    collect = _gather if gather else (lambda x: x)
    all_groups, all_priority = collect(groups), collect(priority)
    same = groups[:, None] == all_groups
    # For any row, the fractional parts are independent uniform draws over the candidates.
    turn = ((priority[:, None] + all_priority) % 1).masked_fill(same, -1)
    random = turn.argmax(1, keepdim=True)
    total = a.new_zeros((), dtype=torch.float32)
    for rows, own, others in ((a, b, collect(b)), (b, a, collect(a))):
        right = (rows * own).sum(1).float()
        scores = (rows @ others.T).float()
        hard = scores.masked_fill(same | (scores >= right[:, None]), float("-inf")).amax(1)
        for wrong in (scores.gather(1, random)[:, 0], hard):
            total = total + (margin + wrong - right).clamp(min=0)[~same.all(1)].sum()
    return total
