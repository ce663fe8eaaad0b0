"""Recall at k and what chance gives, against plain loops and SciPy."""

import pytest
import torch

from speechrep.metrics.retrieval import recall_by_chance, recall_ranks


def test_ranks_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.3, 0.4], [0.7, 0.7, 0.1]])
    right = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 0, 0]]).bool()
    # The last query's right candidate is no better than a wrong one.
    assert recall_ranks(scores, right).tolist() == [0, 2, 1]


def test_the_best_of_several_right_ones_counts():
    scores = torch.tensor([[0.1, 0.5, 0.4, 0.3]])
    assert recall_ranks(scores, torch.tensor([[True, False, False, True]])).tolist() == [2]


def test_constant_scores_find_nothing():
    assert recall_ranks(torch.zeros(4, 10), torch.eye(4, 10).bool()).tolist() == [9] * 4


def test_a_query_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="without a right candidate"):
        recall_ranks(torch.zeros(2, 3), torch.tensor([[True, False, False], [False] * 3]))


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_chance_is_hypergeometric(k):
    hypergeom = pytest.importorskip("scipy.stats").hypergeom
    right = torch.zeros(4, 12, dtype=torch.bool)
    for row, answers in enumerate((1, 2, 5, 11)):
        right[row, :answers] = True
    wanted = [1 - hypergeom.pmf(0, 12, answers, k) for answers in (1, 2, 5, 11)]
    assert recall_by_chance(right, k).tolist() == pytest.approx(wanted)


def test_random_scores_come_near_chance():
    draw = torch.Generator().manual_seed(0)
    right = torch.zeros(4000, 20, dtype=torch.bool)
    right[:, :3] = True
    found = (recall_ranks(torch.rand(4000, 20, generator=draw), right) < 5).double().mean()
    assert float(found) == pytest.approx(float(recall_by_chance(right, 5)[0]), abs=0.025)
