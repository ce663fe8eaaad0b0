import dataclasses

import kaldi_native_fbank
import numpy as np
import pytest
import torch
import torchaudio
from scipy import signal

from speechrep.config import build, plain
from speechrep.data.features import FeatureConfig, add_deltas, build_features, log_mel, slaney_mel
from speechrep.errors import SpeechrepError


def voice(rate_hz=16000, seconds=1.3, seed=0):
    """A buzz with formants, noise and a stretch of near silence."""
    rng = np.random.default_rng(seed)
    count = int(rate_hz * seconds)
    time = np.arange(count) / rate_hz
    buzz = signal.lfilter([1], [1, -1.2, 0.8], signal.square(2 * np.pi * 120 * time, 0.1))
    sound = 0.05 * buzz + 0.01 * rng.standard_normal(count)
    sound[count // 2:count // 2 + count // 10] *= 1e-3
    return (np.clip(np.rint(sound * 32768), -32768, 32767) / 32768).astype(np.float32)


def kaldi_native(samples, kind, config):
    options = (kaldi_native_fbank.FbankOptions if kind == "fbank" else kaldi_native_fbank.MfccOptions)()
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq, frame.dither, frame.snip_edges = config.rate_hz, config.dither, config.snip_edges
    frame.frame_shift_ms = 1000 * config.hop_samples / config.rate_hz
    frame.frame_length_ms = 1000 * config.win_samples / config.rate_hz
    mel.num_bins, mel.low_freq, mel.high_freq = config.n_mels, config.low_hz, config.high_hz
    options.use_energy = config.energy
    if kind == "mfcc":
        options.num_ceps = config.n_ceps
    online = (kaldi_native_fbank.OnlineFbank if kind == "fbank" else kaldi_native_fbank.OnlineMfcc)(options)
    online.accept_waveform(config.rate_hz, (samples * 32768).tolist())
    online.input_finished()
    return np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])


KALDI = [
    {"kind": "fbank"},
    {"kind": "fbank", "n_mels": 23, "rate_hz": 8000, "hop_samples": 80, "win_samples": 200},
    {"kind": "fbank", "n_mels": 40, "low_hz": 100.0, "high_hz": 7000.0, "snip_edges": False},
    {"kind": "mfcc"},
    {"kind": "mfcc", "energy": True, "rate_hz": 8000, "hop_samples": 80, "win_samples": 200},
    {"kind": "mfcc", "n_mels": 40, "n_ceps": 20, "snip_edges": False},
]


@pytest.mark.parametrize("mapping", KALDI, ids=str)
def test_kaldi_kinds_agree_with_kaldi_native_fbank(mapping):
    config = build(FeatureConfig, mapping)
    samples = voice(config.rate_hz)
    ours, judge = build_features(config)(samples), kaldi_native(samples, config.kind, config)
    assert ours.shape == judge.shape == (config.num_frames(len(samples)), config.dim)
    assert np.abs(ours - judge).max() < 1e-3


@pytest.mark.parametrize("mapping", KALDI, ids=str)
def test_kaldi_kinds_agree_with_torchaudio(mapping):
    config = build(FeatureConfig, mapping)
    samples = voice(config.rate_hz)
    judge = getattr(torchaudio.compliance.kaldi, config.kind)
    more = {"num_ceps": config.n_ceps} if config.kind == "mfcc" else {}
    theirs = judge(torch.from_numpy(samples)[None] * 32768, sample_frequency=config.rate_hz, num_mel_bins=config.n_mels,
                   frame_shift=1000 * config.hop_samples / config.rate_hz, low_freq=config.low_hz,
                   frame_length=1000 * config.win_samples / config.rate_hz, high_freq=config.high_hz,
                   snip_edges=config.snip_edges, use_energy=config.energy, energy_floor=0.0, **more).numpy()
    ours = build_features(config)(samples)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-3


def numpy_logmel(samples, n_fft, hop, win, mel):
    """HiFi-GAN's steps one by one, in double precision."""
    pad = (n_fft - hop) // 2
    padded = np.pad(samples.astype(np.float64), pad, mode="reflect")
    window = np.zeros(n_fft)
    start = (n_fft - win) // 2
    window[start:start + win] = signal.get_window("hann", win, fftbins=True)
    frames = []
    for first in range(0, len(padded) - n_fft + 1, hop):
        spectrum = np.fft.rfft(padded[first:first + n_fft] * window)
        magnitude = np.sqrt(np.abs(spectrum) ** 2 + 1e-9)
        frames.append(np.log(np.maximum(1e-5, magnitude @ mel)))
    return np.array(frames)


@pytest.mark.parametrize("rate_hz, n_fft, hop, win", [(22050, 1024, 256, 1024), (16000, 1024, 200, 800),
                                                      (8000, 256, 80, 200)])
def test_logmel_agrees_with_numpy_and_torchaudio_mel(rate_hz, n_fft, hop, win):
    config = FeatureConfig(rate_hz=rate_hz, n_fft=n_fft, hop_samples=hop, win_samples=win, n_mels=40)
    samples = voice(rate_hz)
    mel = torchaudio.functional.melscale_fbanks(n_fft // 2 + 1, 0.0, rate_hz / 2, 40, rate_hz, "slaney", "slaney")
    ours = build_features(config)(samples)
    assert ours.shape == (len(samples) // hop, 40)
    np.testing.assert_allclose(slaney_mel(n_fft, 40, rate_hz, 0, rate_hz / 2), mel.numpy(), atol=1e-6)
    np.testing.assert_allclose(ours, numpy_logmel(samples, n_fft, hop, win, mel.double().numpy()), atol=2e-4)


def test_mel_agrees_with_librosa():
    librosa = pytest.importorskip("librosa", reason="librosa judges the mel bands; pip install librosa")
    judge = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000).T
    np.testing.assert_allclose(slaney_mel(1024, 80, 22050, 0, 8000), judge, atol=1e-6)


def test_logmel_of_a_tone_peaks_in_its_band_and_silence_is_the_floor():
    config = FeatureConfig(rate_hz=16000, n_fft=1024, win_samples=1024, hop_samples=256, n_mels=80)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    # 1000 Hz is 15 mel of 15 + 27 ln(8) / ln(6.4) = 45.2453 up to 8 kHz: 15 / (45.2453 / 81) = 26.85, so band 26.
    assert (build_features(config)(tone).argmax(1) == 26).all()
    np.testing.assert_allclose(build_features(config)(np.zeros(8000, np.float32)), np.log(1e-5), atol=1e-6)


@pytest.mark.parametrize("mapping", [{}, {"n_fft": 1024}, {"n_fft": 513}, {"kind": "fbank"},
                                     {"kind": "mfcc", "deltas": 2},
                                     {"kind": "fbank", "snip_edges": False}], ids=str)
def test_num_frames_is_exact_for_every_length(mapping):
    config = build(FeatureConfig, mapping | {"n_mels": 20})
    features, samples = build_features(config), voice()
    for count in [*range(3), 79, 80, 81, 159, 160, 161, 239, 240, 241, 319, 320, 399, 400, 401, 559, 560, 1601, 4321]:
        got = features(samples[:count])
        assert got.shape == (config.num_frames(count), config.dim), count
        assert got.dtype == np.float32 and np.isfinite(got).all()


@pytest.mark.parametrize("kind", ["logmel", "fbank", "mfcc"])
def test_blocks_leave_no_seams(kind, monkeypatch):
    config = FeatureConfig(kind=kind)
    samples = voice(seconds=2)
    whole = build_features(config)(samples)
    monkeypatch.setattr("speechrep.data.features.BLOCK_FRAMES", 7)
    np.testing.assert_allclose(build_features(config)(samples), whole, atol=1e-4)


def test_batched_log_mel_equals_the_single_one_and_passes_gradients():
    config = FeatureConfig(n_fft=512, win_samples=400, hop_samples=160)
    first, second = voice(seed=1), voice(seed=2)
    build_features(config)(first)
    audio = torch.from_numpy(np.stack([first, second])).requires_grad_()
    mel = log_mel(audio, config)
    np.testing.assert_allclose(mel[1].detach(), build_features(config)(second), atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(log_mel(audio, config), mel)
    single = log_mel(audio[0].detach().double(), config)
    assert single.dtype == torch.float64 and single.shape == mel[0].shape
    mel.sum().backward()
    assert torch.isfinite(audio.grad).all() and (audio.grad != 0).float().mean() > 0.99


def kaldi_deltas(features, order, window=2):
    """feature-functions.cc, loop by loop: scales by convolution, frames clamped at the ends."""
    scales = [np.array([1.0])]
    normalizer = sum(j * j for j in range(-window, window + 1))
    for _ in range(order):
        previous, offset = scales[-1], (len(scales[-1]) - 1) // 2
        current = np.zeros(len(previous) + 2 * window)
        for j in range(-window, window + 1):
            for k in range(-offset, offset + 1):
                current[j + k + offset + window] += j * previous[k + offset] / normalizer
        scales.append(current)
    rows = []
    for frame in range(len(features)):
        row = []
        for scale in scales:
            reach = (len(scale) - 1) // 2
            row.append(sum(scale[j + reach] * features[min(max(frame + j, 0), len(features) - 1)]
                           for j in range(-reach, reach + 1)))
        rows.append(np.concatenate(row))
    return np.array(rows)


def test_deltas():
    features = np.random.default_rng(0).standard_normal((30, 13)).astype(np.float32)
    ours = add_deltas(features, 2)
    np.testing.assert_allclose(ours, kaldi_deltas(features, 2), atol=1e-6)
    delta = torchaudio.functional.compute_deltas(torch.from_numpy(features).T)
    np.testing.assert_allclose(ours[:, 13:26], delta.T, atol=1e-6)
    inner = torchaudio.functional.compute_deltas(delta).T[4:-4]
    np.testing.assert_allclose(ours[4:-4, 26:], inner, atol=1e-6)
    ramp = np.arange(10, dtype=np.float32)[:, None]
    np.testing.assert_allclose(add_deltas(ramp, 1)[2:-2, 1], 1.0, atol=1e-6)
    assert FeatureConfig(kind="mfcc", deltas=2).dim == 39


def test_dither_is_off_by_default_and_equal_for_equal_samples():
    samples = voice()
    plain_mfcc = build_features(FeatureConfig(kind="mfcc"))
    assert np.array_equal(plain_mfcc(samples), plain_mfcc(samples))
    dithered = build_features(FeatureConfig(kind="mfcc", dither=1.0))
    assert np.array_equal(dithered(samples), dithered(samples))
    assert not np.array_equal(dithered(samples), plain_mfcc(samples))
    zeros = build_features(FeatureConfig(kind="fbank", dither=1.0))(np.zeros(16000, np.float32))
    assert zeros.mean() > 0 > build_features(FeatureConfig(kind="fbank"))(np.zeros(16000, np.float32)).mean()


def test_config():
    config = build(FeatureConfig, {"kind": "fbank", "rate_hz": 22050, "win_samples": 600, "hop_samples": 441})
    assert (config.n_fft, config.n_mels, config.low_hz, config.high_hz) == (1024, 80, 20.0, 11025.0)
    assert (config.hop_sec, config.dim) == (0.02, 80)
    assert build(FeatureConfig, plain(config)) == config
    assert FeatureConfig(kind="mfcc").n_mels == 23 and FeatureConfig().low_hz == 0
    for wrong in [{"kind": "lpc"}, {"hops": 1}, {"n_fft": 256}, {"high_hz": 9000.0}, {"hop_samples": 0},
                  {"kind": "mfcc", "n_ceps": 30}, {"deltas": 2}, {"floor": 0.0}, {"hop_samples": 600},
                  {"rate_hz": 8000, "win_samples": 200, "n_mels": 200}]:
        with pytest.raises(SpeechrepError):
            build(FeatureConfig, wrong)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.kind = "mfcc"
