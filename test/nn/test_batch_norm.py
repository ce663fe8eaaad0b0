"""Batch norm against torch's own."""

import torch

from speechrep.nn.batch_norm import BatchNorm


def test_as_torchs():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm1d(5, affine=False, momentum=0.1)
    for _ in range(3):
        x = 2 + 3 * torch.randn(6, 5, generator=generator)
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert torch.allclose(ours.mean, theirs.running_mean, atol=1e-5)
    # torch's estimate has one fewer in the denominator.
    assert torch.allclose(ours.variance - 0.9 ** 3, (theirs.running_var - 0.9 ** 3) * 5 / 6, atol=1e-4)
    ours.eval()
    assert torch.allclose(ours(x), (x - ours.mean) / (ours.variance + 1e-5).sqrt())
    ours.begin(x)
    assert torch.allclose(ours(x).mean(0), torch.zeros(5), atol=1e-5) and torch.allclose(ours(x).std(0, unbiased=False), torch.ones(5),
                                                                                         atol=1e-3)


def test_a_batch_of_one_vector_is_held_against_the_estimates():
    norm = BatchNorm(3)
    norm.begin(torch.tensor([[0.0, 1, 2], [2, 1, 4]]))
    x = torch.tensor([[5.0, 1, 2]])
    assert norm.training and torch.equal(norm(x), norm.eval()(x)) and norm.mean.tolist() == [1, 1, 3]
