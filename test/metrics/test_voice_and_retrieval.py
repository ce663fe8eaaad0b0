import numpy as np
import pytest
import torch

from speechrep.metrics.retrieval import retrieval_top1
from speechrep.metrics.speaker import centroid, cosine


def test_cosine_and_centroid():
    assert cosine([1, 0], [[1, 0], [0, 3], [-2, 0], [1, 1]]) == pytest.approx([1, 0, -1, np.sqrt(0.5)])
    assert cosine([0, 0], [1, 0]) == 0
    # each is scaled first, so the loud one does not win
    assert centroid(np.array([[10.0, 0], [0, 1]])) == pytest.approx([np.sqrt(0.5)] * 2)


def test_retrieval_against_brute_force():
    torch.manual_seed(0)
    speech = torch.randn(50, 8)
    phones = speech + 0.8 * torch.randn(50, 8)
    forth, back = retrieval_top1(speech, phones, chunk=7)
    for i in range(50):
        near = max(range(50), key=lambda j: torch.cosine_similarity(speech[i], phones[j], dim=0).item())
        assert bool(forth[i]) == (near == i)
        near = max(range(50), key=lambda j: torch.cosine_similarity(phones[i], speech[j], dim=0).item())
        assert bool(back[i]) == (near == i)
    assert 0 < forth.float().mean() < 1


def test_retrieval_of_itself_and_of_segments():
    x = torch.eye(6)
    assert retrieval_top1(x, 3 * x)[0].all() and retrieval_top1(x, x)[1].all()
    shifted = x.roll(1, 0)
    assert not retrieval_top1(x, shifted)[0].any()
    # frame i of speech is frame i + 1 of the phones: a hit where both lie in one segment
    forth, back = retrieval_top1(x, shifted, torch.tensor([0, 0, 0, 1, 1, 1]))
    assert forth.tolist() == [True, True, False, True, True, False]
    assert back.tolist() == [False, True, True, False, True, True]
    with pytest.raises(ValueError):
        retrieval_top1(x, x[:-1])
