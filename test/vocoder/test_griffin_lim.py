import math

import numpy as np
import pytest
import torch

from speechrep.data.features import FeatureConfig, build_features, slaney_mel
from speechrep.errors import SpeechrepError
from speechrep.vocoder.griffin_lim import griffin_lim, mel_to_magnitude

CONFIGS = [FeatureConfig(rate_hz=8000, hop_samples=80, win_samples=256),
           FeatureConfig(rate_hz=16000, hop_samples=160, win_samples=400)]


def voice(rate_hz: int, seconds: float = 1.0, hz: float = 130.0) -> np.ndarray:
    """A vowel-like sound: harmonics of a gliding pitch under two resonances, with a pause in the middle."""
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    phase = 2 * np.pi * np.cumsum(hz * (1 + 0.2 * np.sin(2 * np.pi * 2 * times))) / rate_hz
    samples = np.zeros_like(times)
    for harmonic in range(1, int(0.45 * rate_hz / hz / 1.2)):
        f = harmonic * hz
        samples += np.cos(harmonic * phase) / (1 + ((f - 600) / 150) ** 2) \
            + 0.5 * np.cos(harmonic * phase) / (1 + ((f - 1700) / 200) ** 2)
    samples[len(samples) // 2:len(samples) // 2 + rate_hz // 10] = 0
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


@pytest.mark.parametrize("config", CONFIGS, ids=["8k", "16k"])
def test_features_of_the_output_are_the_features(config):
    features, samples = build_features(config), voice(config.rate_hz)
    mel = features(samples)
    made = griffin_lim(mel, config).numpy()
    assert made.dtype == np.float32 and made.shape == (len(mel) * config.hop_samples,)
    loud = mel > mel.max() - math.log(100)
    again = features(made)
    assert np.abs(again - mel)[loud].mean() < 0.1
    few = features(griffin_lim(mel, config, iterations=2).numpy())
    assert np.abs(again - mel)[loud].mean() < 0.6 * np.abs(few - mel)[loud].mean()


@pytest.mark.parametrize("config", CONFIGS, ids=["8k", "16k"])
def test_magnitudes_have_the_mel_they_are_made_from(config):
    log_mel = torch.from_numpy(build_features(config)(voice(config.rate_hz)))
    magnitude = mel_to_magnitude(log_mel, config)
    assert magnitude.shape == (len(log_mel), config.n_fft // 2 + 1) and magnitude.min() >= 0
    bands = torch.from_numpy(slaney_mel(config.n_fft, config.n_mels, config.rate_hz, 0, config.rate_hz / 2)).float()
    mel = log_mel.exp()
    assert ((magnitude @ bands - mel).abs().sum() / mel.sum()).item() < 0.03


def test_a_flat_spectrum_comes_back_flat():
    config = FeatureConfig(rate_hz=16000, hop_samples=160, win_samples=400, n_mels=40)
    bands = torch.from_numpy(slaney_mel(512, 40, 16000, 0, 8000)).float()
    magnitude = mel_to_magnitude(torch.log(0.25 * bands.sum(0))[None], config)[0]
    # The first and the last bin belong to no band.
    torch.testing.assert_close(magnitude[1:-1], torch.full((255,), 0.25), rtol=0.02, atol=0)


def test_deterministic_and_seeded():
    config = CONFIGS[0]
    mel = build_features(config)(voice(8000, 0.4))
    torch.manual_seed(1)
    first = griffin_lim(mel, config, iterations=8)
    torch.manual_seed(2)
    assert torch.equal(first, griffin_lim(mel, config, iterations=8))
    assert not torch.equal(first, griffin_lim(mel, config, iterations=8, seed=1))


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_very_short(frames):
    made = griffin_lim(np.zeros((frames, 80), np.float32), CONFIGS[0], iterations=3)
    assert made.shape == (80 * frames,) and torch.isfinite(made).all()


def test_refusals():
    with pytest.raises(SpeechrepError, match=r"\[5, 40\].*\n.*\[N, 80\]"):
        griffin_lim(np.zeros((5, 40), np.float32), CONFIGS[0])
    with pytest.raises(SpeechrepError, match="NaN"):
        griffin_lim(np.full((5, 80), np.nan, np.float32), CONFIGS[0])
    with pytest.raises(SpeechrepError, match="fbank"):
        griffin_lim(np.zeros((5, 80), np.float32), FeatureConfig(kind="fbank"))
