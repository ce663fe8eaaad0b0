import math

import pytest
import torch

from speechrep.nn.mel_loss import MelLoss, SpectralLoss, magnitude


def test_magnitude_of_a_sinusoid():
    # A unit sinusoid on a bin has magnitude sum(window) / 2 there.
    samples = torch.cos(2 * math.pi * 10 * torch.arange(2048) / 128)[None]
    spectrum = magnitude(samples, torch.hann_window(128), 32)
    assert spectrum.shape == (1, 65, 65)
    assert spectrum[0, 30, 10].item() == pytest.approx(32.0, rel=1e-4)
    assert spectrum[0, 30, 20].item() < 0.01


def test_half_the_level_is_log_two_away():
    bands = torch.rand(65, 12, generator=torch.Generator().manual_seed(0))
    real = torch.randn(2, 1600, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([1600, 1600])
    distance = MelLoss(bands, 32)(0.5 * real, real, lengths)
    torch.testing.assert_close(distance, torch.full((2,), math.log(2.0)), atol=1e-4, rtol=0)
    # |S - S / 2| / |S| = 1 / 2, and ln 2 again.
    distance = SpectralLoss((64, 128))(0.5 * real, real, lengths)
    torch.testing.assert_close(distance, torch.full((2,), 0.5 + math.log(2.0)), atol=1e-2, rtol=0)


@pytest.mark.parametrize("loss", [MelLoss(torch.rand(65, 12), 32), SpectralLoss((64, 128))])
def test_padding_changes_nothing(loss):
    real = torch.randn(2, 1600, generator=torch.Generator().manual_seed(2))
    made = torch.randn(2, 1600, generator=torch.Generator().manual_seed(3))
    lengths = torch.tensor([1600, 960])
    real[1, 960:], made[1, 960:] = 0, 0
    torch.testing.assert_close(loss(made, real, lengths)[1:], loss(made[1:, :960], real[1:, :960], lengths[1:]),
                               atol=1e-5, rtol=1e-4)
