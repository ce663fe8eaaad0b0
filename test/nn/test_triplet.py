"""Margin ranking against a plain loop."""

import pytest
import torch

from speechrep.nn.triplet import triplet_ranking


def plain(a, b, groups, priority, margin):
    total = 0.0
    for rows, others in ((a, b), (b, a)):
        for i in range(len(rows)):
            wrong = [j for j in range(len(rows)) if groups[j] != groups[i]]
            if not wrong:
                continue
            own = float(rows[i] @ others[i])
            scores = {j: float(rows[i] @ others[j]) for j in wrong}
            drawn = max(wrong, key=lambda j: float((priority[i] + priority[j]) % 1))
            total += max(0.0, margin + scores[drawn] - own)
            further = [score for score in scores.values() if score < own]
            if further:
                total += max(0.0, margin + max(further) - own)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_is_the_plain_loop(seed):
    draw = torch.Generator().manual_seed(seed)
    a, b = torch.randn(7, 4, generator=draw), torch.randn(7, 4, generator=draw)
    groups, priority = torch.tensor([0, 1, 1, 2, 3, 0, 4]), torch.rand(7, generator=draw)
    ours = triplet_ranking(a, b, groups, priority, 1.0)
    assert float(ours) == pytest.approx(plain(a, b, groups, priority, 1.0), rel=1e-5)


def test_by_hand():
    a, b = torch.eye(2), torch.tensor([[1.0, 0.0], [0.5, 0.8]])
    # Rows of a: own 1 and 0.8, impostors 0.5 and 0; rows of b: own 1 and 0.8, impostors 0 and 0.5. All are semi-hard.
    wanted = 2 * (0.5 + 0.2 + 0.0 + 0.7)
    assert float(triplet_ranking(a, b, torch.tensor([0, 1]), torch.tensor([0.2, 0.9]))) == pytest.approx(wanted)


def test_one_group_has_no_impostors():
    a = torch.randn(3, 2, requires_grad=True)
    loss = triplet_ranking(a, torch.randn(3, 2), torch.zeros(3, dtype=torch.long), torch.rand(3))
    loss.backward()
    assert float(loss.detach()) == 0 and torch.isfinite(a.grad).all()


def test_random_impostors_are_drawn_alike():
    """Over many draws, each of three candidates is the impostor of the first row equally often: with two groups, a row
    of the first can only meet those of the second, whose scores tell them apart."""
    draw = torch.Generator().manual_seed(0)
    a, b = torch.zeros(4, 1), torch.zeros(4, 1)
    a[0], b[1:, 0] = 1, torch.tensor([1.0, 2.0, 4.0])
    groups = torch.tensor([0, 1, 1, 1])
    # Own scores are 0. Rows 1 to 3 of a score 0 everywhere; rows of b can only meet row 0 of a, in all 1 + 2 + 4.
    extra = [round(float(triplet_ranking(a, b, groups, torch.rand(4, generator=draw), margin=0.0))) - 7
             for _ in range(3000)]
    share = torch.tensor([extra.count(score) for score in (1, 2, 4)]) / 3000
    assert set(extra) == {1, 2, 4} and (share - 1 / 3).abs().max() < 0.03
