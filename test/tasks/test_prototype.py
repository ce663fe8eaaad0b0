"""The steadiest path against every path there is."""

import itertools

import pytest
import torch

from speechrep.tasks.prototype import steadiest_path


@pytest.mark.parametrize("cost", [0.0, 0.7, 3.0])
def test_agrees_with_every_path_tried(cost):
    scores = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lengths = torch.tensor([6, 4, 1])
    for row, path in enumerate(steadiest_path(scores, lengths, cost)):
        size = int(lengths[row])

        def value(ids):
            changes = sum(a != b for a, b in itertools.pairwise(ids))
            return sum(float(scores[row, i, k]) for i, k in enumerate(ids)) - cost * changes

        best = max(itertools.product(range(3), repeat=size), key=value)
        assert tuple(path.tolist()) == best


def test_a_dear_change_keeps_one_class_and_a_free_one_takes_every_maximum():
    scores = torch.randn(1, 50, 5, generator=torch.Generator().manual_seed(2))
    assert len(steadiest_path(scores, torch.tensor([50]), 1e4)[0].unique()) == 1
    assert torch.equal(steadiest_path(scores, torch.tensor([50]), 0.0)[0], scores[0].argmax(-1))
