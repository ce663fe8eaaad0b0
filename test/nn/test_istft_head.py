import math

import pytest
import torch

from speechrep.nn.istft_head import ISTFTHead, hann, istft_same, stft_same


@pytest.mark.parametrize("n_fft, win, hop", [(256, 256, 80), (320, 320, 80), (512, 200, 80), (1024, 1024, 256)])
def test_inverse_gives_the_signal_back(n_fft, win, hop):
    samples = torch.randn(2, 40 * hop, generator=torch.Generator().manual_seed(0))
    window = hann(n_fft, win)
    spectrum = stft_same(samples, window, hop)
    assert spectrum.shape == (2, n_fft // 2 + 1, 40)
    torch.testing.assert_close(istft_same(spectrum, window, hop), samples, atol=1e-4, rtol=1e-4)


def test_inverse_agrees_with_torch_where_both_are_defined():
    # A centred transform has one frame more, and its frame i is ours shifted by half a hop.
    n_fft, hop = 256, 64
    spectrum = torch.randn(1, 129, 30, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    spectrum[:, [0, -1]] = spectrum[:, [0, -1]].real.to(spectrum.dtype)
    window = hann(n_fft)
    theirs = torch.istft(spectrum, n_fft, hop, window=window, center=True)
    ours = istft_same(spectrum, window, hop)[:, hop // 2:-(hop // 2)]
    torch.testing.assert_close(ours[:, n_fft:-n_fft], theirs[:, n_fft:-n_fft], atol=1e-5, rtol=1e-4)


def test_padded_frames_do_not_sound():
    spectrum = torch.randn(2, 129, 20, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    frames = torch.ones(2, 1, 20)
    frames[0, :, 12:] = 0
    window = hann(256)
    padded = istft_same(spectrum, window, 80, frames)
    torch.testing.assert_close(padded[0, :12 * 80], istft_same(spectrum[:1, :, :12], window, 80)[0])
    assert padded[0, 12 * 80:].abs().max() == 0
    torch.testing.assert_close(padded[1:], istft_same(spectrum[1:], window, 80))


def test_head_makes_the_sinusoid_it_is_told():
    # Bin 8 of 256 with phase advancing by 2 pi 8 hop / n_fft a frame is one steady sinusoid; hop 64 makes the
    # advance 4 pi, so a constant phase will do.
    head = ISTFTHead(dim=4, n_fft=256, hop_samples=64)
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.bias.fill_(-30.0)
        head.out.bias[129:] = 0.0
        head.out.bias[8] = math.log(64.0)
    made = head(torch.zeros(1, 30, 4))[0]
    assert made.shape == (30 * 64,)
    middle = torch.arange(512, 1024)
    # Frame i covers samples from i * 64 - 96 on.
    expected = torch.cos(2 * math.pi * 8 * (middle + 96) / 256)
    expected = expected * made[512:1024].abs().max()
    torch.testing.assert_close(made[512:1024], expected, atol=2e-3, rtol=0)


def test_head_clips_and_adds_the_guess():
    head = ISTFTHead(dim=2, n_fft=16, hop_samples=4)
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.bias.fill_(0.0)
    guess = torch.full((1, 3, 9), 2.0)
    torch.testing.assert_close(head.spectrum(torch.zeros(1, 3, 2), guess).abs(), torch.full((1, 9, 3), math.exp(2.0)))
    assert head.spectrum(torch.zeros(1, 3, 2), guess * 10).abs().max().item() == pytest.approx(100.0)
