"""Instance normalisation over time, against torch's and by what it must not see."""

import pytest
import torch

from speechrep.nn.instance_norm import instance_norm

LENGTHS = torch.tensor([9, 4])


def batch():
    x = 3 + 2 * torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(9) < LENGTHS[:, None]


def test_as_torch_does_it():
    x, inside = batch()
    y = instance_norm(x, LENGTHS, 1e-9)
    for row, length in enumerate(LENGTHS.tolist()):
        wanted = torch.nn.functional.instance_norm(x[row:row + 1, :length].mT, eps=0.0).mT[0]
        torch.testing.assert_close(y[row, :length], wanted)
    assert not y[~inside].any()


def test_padding_and_a_constant_voice_change_nothing():
    x, inside = batch()
    wild = torch.where(inside[..., None], x, torch.tensor(1e6))
    assert torch.equal(instance_norm(wild, LENGTHS), instance_norm(x, LENGTHS))
    voice = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(instance_norm(x + voice, LENGTHS, 1e-9), instance_norm(x, LENGTHS, 1e-9), atol=1e-5, rtol=1e-5)


def test_a_short_utterance_is_not_erased():
    """One frame among frames of mean 0 and variance 1: by hand, x - x / 4, over the root of ((x - x / 4)^2 + 3) / 4."""
    x = torch.tensor([[[2.0]]])
    assert instance_norm(x, torch.tensor([1]), 3.0).item() == pytest.approx(1.5 / ((1.5 ** 2 + 3) / 4) ** 0.5)
