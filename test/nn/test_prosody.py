"""Prosody of signals whose pitch and voicing are known, and running moments by hand."""

import math

import numpy as np
import pytest
import torch

from speechrep.nn.moments import RunningMoments
from speechrep.nn.prosody import SILENCE, _bridged, log_power, prosody


def tone(hz: float, rate_hz: int, seconds: float = 0.5) -> torch.Tensor:
    """Ten harmonics, the fundamental not the strongest."""
    time = torch.arange(int(rate_hz * seconds)) / rate_hz
    return 0.1 * sum(torch.sin(2 * math.pi * hz * k * time + k) / (1 if k == 2 else k) for k in range(1, 11)
                     if hz * k < rate_hz / 2)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("hz", [71.0, 97.3, 150.0, 233.0, 380.0])
def test_pitch_of_a_tone(hz, rate_hz):
    audio = tone(hz, rate_hz)[None]
    found = prosody(audio, torch.tensor([50]), rate_hz, rate_hz // 100)[0, 5:-5]
    np.testing.assert_allclose(found[:, 0].exp(), hz, rtol=0.01)
    assert float(found[:, 1].min()) > 0.9


def test_noise_and_silence_are_unvoiced():
    torch.manual_seed(0)
    audio = torch.cat([0.1 * torch.randn(4000), torch.zeros(4000)])[None]
    found = prosody(audio, torch.tensor([100]), 8000, 80)[0]
    assert float(found[:45, 1].mean()) < 0.5
    assert not found[60:, 1].any()
    # No frame of silence is voiced; energy is that of the noise, or of nothing.
    np.testing.assert_allclose(found[60:, 2], math.log(SILENCE), rtol=1e-5)
    assert float(found[5:45, 2].mean()) == pytest.approx(math.log(0.01), abs=0.1)
    # White noise crosses zero at every other sample.
    assert float(found[5:45, 3].mean()) == pytest.approx(0.5, abs=0.03)
    assert not found[60:, 3].any()


def test_zero_crossings_and_log_power_by_loop():
    torch.manual_seed(1)
    audio = torch.randn(1, 800)
    size = 2 * round(1.25 * 8000 / 60)
    padded = np.pad(audio[0].numpy(), (size - 80) // 2)
    found = prosody(audio, torch.tensor([10]), 8000, 80)[0]
    for n in range(10):
        frame = padded[80 * n:80 * n + size]
        crossings = sum(a * b < 0 for a, b in zip(frame[1:], frame[:-1]))
        assert float(found[n, 3]) == pytest.approx(crossings / (size - 1), abs=1e-6)
        assert float(found[n, 2]) == pytest.approx(math.log((frame ** 2).mean() + SILENCE), rel=1e-5)
    padded = np.pad(audio[0].numpy(), (256 - 80) // 2)
    window = np.hanning(257)[:256]
    for n in range(10):
        power = np.abs(np.fft.rfft(padded[80 * n:80 * n + 256] * window)) ** 2
        np.testing.assert_allclose(log_power(audio, 256, 80)[0, n], np.log(power + 1e-6), atol=1e-3)


def test_pitch_is_drawn_through_unvoiced_frames():
    values = torch.tensor([[9.0, 1, 9, 9, 4, 9], [9.0] * 6])
    known = torch.tensor([[False, True, False, False, True, False], [False] * 6])
    assert _bridged(values, known, 5.0).tolist() == [[1, 1, 2, 3, 4, 4], [5] * 6]


def test_padding_changes_nothing():
    audio = torch.stack([tone(120, 8000), tone(200, 8000)])
    audio[1, 2400:] = 0
    found = prosody(audio, torch.tensor([50, 30]), 8000, 80)
    alone = prosody(audio[1:, :2400], torch.tensor([30]), 8000, 80)
    torch.testing.assert_close(found[1:, :30], alone)
    assert not found[1, 30:].any()


def test_moments_by_hand():
    torch.manual_seed(2)
    moments = RunningMoments(2, (1.0, 0.0), 2.0)
    torch.testing.assert_close(moments(torch.tensor([[3.0, 3.0]])), torch.tensor([[1.0, 1.5]]))
    x = 5 + 3 * torch.randn(4000, 2)
    for part in x.split(1000):
        moments.gather(part)
        before = moments(x[:1])
    torch.testing.assert_close(before, (x[:1] - torch.tensor([1.0, 0])) / 2)
    moments.update()
    everything = torch.cat([x, torch.tensor([[1.0, 0]])]).double()
    square = (x.double().square().sum(0) + torch.tensor([1.0 + 4, 0 + 4])) / 4001
    wanted = (x - everything.mean(0)) / (square - everything.mean(0).square()).sqrt()
    torch.testing.assert_close(moments(x).double(), wanted, rtol=1e-4, atol=1e-4)
    again = {key: value.clone() for key, value in moments.state_dict().items()}
    moments.update()
    assert all(torch.equal(value, again[key]) for key, value in moments.state_dict().items())
