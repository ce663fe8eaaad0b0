"""Encoders do not see padding; masks, windows, diffusion and the divergence by hand."""

import math

import pytest
import torch

from speechrep.nn.diffusion import NoiseSchedule
from speechrep.nn.encoder import Encoder
from speechrep.nn.gaussian import kl_to_standard
from speechrep.nn.masking import pad_mask
from speechrep.nn.prompt_encoder import window
from speechrep.nn.tdnn import splice


def test_pad_mask_is_true_behind_the_end():
    assert pad_mask(torch.tensor([0, 2]), 3).tolist() == [[True, True, True], [False, False, True]]


def test_splice_sets_neighbours_side_by_side():
    x = torch.arange(1.0, 6).view(1, 5, 1)
    assert splice(x, 1, 2)[0].tolist() == [[0, 1, 3], [0, 2, 4], [1, 3, 5], [2, 4, 0], [3, 5, 0]]


@pytest.mark.parametrize("kind", ["transformer", "tdnn"])
def test_an_encoder_gives_a_short_row_the_same_alone_and_in_a_batch(kind):
    torch.manual_seed(0)
    encoder = Encoder(kind, 3, 16, 4, 0.0).eval()
    x = torch.randn(2, 30, 16)
    lengths = torch.tensor([30, 17])
    x[1, 17:] = 99.0
    together = encoder(x.masked_fill(pad_mask(lengths, 30)[..., None], 0), pad_mask(lengths, 30))
    alone = encoder(x[1:, :17], pad_mask(lengths[1:], 17))
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:, :17], b, atol=1e-5, rtol=1e-4)
    assert not together[-1][1, 17:].any() and len(together) == 4


def test_a_window_is_cut_from_the_middle_and_loops_short_rows():
    frames = torch.arange(10.0).view(1, 10, 1).repeat(2, 1, 1)
    cut = window(frames, torch.tensor([10, 3]), 4)
    assert cut[0, :, 0].tolist() == [3, 4, 5, 6] and cut[1, :, 0].tolist() == [0, 1, 2, 0]
    assert window(frames, torch.tensor([10, 3]), 4, torch.tensor([0.999, 0.999]))[0, :, 0].tolist() == [6, 7, 8, 9]


def test_the_divergence_by_hand():
    mean, logvar = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(2.0)]])
    assert float(kl_to_standard(mean, logvar)) == pytest.approx(0.5 * (1 + 2 - math.log(2) - 1))
    assert float(kl_to_standard(torch.zeros(1, 5), torch.zeros(1, 5))) == 0


def test_ddim_recovers_the_signal_from_a_perfect_denoiser():
    schedule = NoiseSchedule(100)
    clean = torch.tensor([[0.5, -1.0, 2.0]])

    def denoise(x, step):
        kept = schedule.kept[step][:, None]
        return (x - kept.sqrt() * clean) / (1 - kept).sqrt()

    start = schedule.noisy(clean, torch.randn(1, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([99]))
    torch.testing.assert_close(schedule.sample(denoise, start, 25), clean, atol=1e-4, rtol=1e-4)
    assert 0 < float(schedule.kept[-1]) < 0.1 and float(schedule.kept[0]) == pytest.approx(1 - 1e-4)
