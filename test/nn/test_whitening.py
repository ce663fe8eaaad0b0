"""The map that makes features white."""

import numpy as np
import pytest
import torch

from speechrep.nn.whitening import FLOOR, whitening_of


def frames(rows=4000, dim=6):
    draw = np.random.default_rng(3)
    mixing = draw.normal(size=(dim, dim)) * np.geomspace(1, 30, dim)
    return torch.from_numpy((draw.normal(size=(rows, dim)) @ mixing + draw.normal(size=dim)).astype(np.float32))


def test_what_comes_out_is_white_and_the_map_symmetric():
    x = frames()
    mean, whitening = whitening_of(x.split(700))
    torch.testing.assert_close(mean, x.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whitening, whitening.T)
    values = np.linalg.eigvalsh(np.cov(x.numpy().T, bias=True))
    left = np.linalg.eigvalsh(np.cov(((x - mean) @ whitening).double().numpy().T, bias=True))
    # Along every direction the variance v becomes v / (v + floor).
    np.testing.assert_allclose(left, values / (values + FLOOR * values.mean()), atol=1e-3)


def test_a_diagonal_covariance_by_hand():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    mean, whitening = whitening_of([x])
    floor = FLOOR * (0.5 + 4.5) / 2
    torch.testing.assert_close(mean, torch.zeros(2))
    torch.testing.assert_close(whitening, torch.diag(torch.tensor([0.5 + floor, 4.5 + floor]).rsqrt()))


def test_what_never_varies_stays_finite():
    x = frames()
    x[:, 2] = 7.0
    mean, whitening = whitening_of([x])
    assert ((x - mean) @ whitening)[:, 2].abs().max() < 1e-2
    assert torch.isfinite(whitening_of([torch.ones(5, 3)])[1]).all()


def test_a_linear_head_needs_fewer_steps():
    """Two classes that differ along the direction in which features vary least."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(2000) % 2
    x = torch.randn(2000, 8, generator=draw) * 30 ** torch.linspace(0, 1, 8)
    x[:, 0] += 4.0 * labels
    x = x @ torch.linalg.qr(torch.randn(8, 8, generator=draw))[0]
    mean, whitening = whitening_of([x])
    errors = []
    for seen in ((x - mean) / x.std(), (x - mean) @ whitening):
        head = torch.zeros(8, requires_grad=True)
        optimiser = torch.optim.Adam([head], 0.03)
        for _ in range(30):
            optimiser.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(seen @ head, labels.float()).backward()
            optimiser.step()
        errors.append(float(((seen @ head > 0) != labels).float().mean()))
    # The best there is errs in 2.3 %.
    assert errors[0] > 0.1 and errors[1] < 0.04


def test_without_frames():
    with pytest.raises(ValueError, match="no frames"):
        whitening_of([])
