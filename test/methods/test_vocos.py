"""The vocoder as a method: what the contract asks, and a small overfit."""

import dataclasses

import numpy as np
import pytest
import torch

from speechrep.data.features import FeatureConfig, build_features
from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.vocos import Config, Method

FEATURES = FeatureConfig(rate_hz=8000, hop_samples=80, win_samples=256, n_mels=32)
SMALL = Config(dim=32, hidden_dim=64, layers=2, crop_frames=24, spectral_ffts=(64, 256), periods=(2, 3),
               period_channels=2, resolutions=(256, 512), resolution_channels=4)


def utterances(number: int, seed: int = 0) -> list[np.ndarray]:
    """Gliding harmonic sounds of 0.15 s to 0.5 s."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(number):
        n = int(rng.integers(15, 50)) * 80
        times = np.arange(n) / 8000
        phase = 2 * np.pi * np.cumsum(rng.uniform(90, 250) * (1 + 0.1 * np.sin(9 * times))) / 8000
        x = sum(np.cos(k * phase) / k ** rng.uniform(0.5, 1.5) for k in range(1, 12))
        result.append((0.1 * x + 1e-3 * rng.standard_normal(n)).astype(np.float32))
    return result


def batch_of(sounds: list[np.ndarray]) -> dict:
    features = build_features(FEATURES)
    mels = [torch.from_numpy(features(x)) for x in sounds]
    lengths = torch.tensor([len(mel) for mel in mels])
    return {"utts": [f"u{i}" for i in range(len(mels))], "seeds": torch.arange(len(mels)),
            "feats": torch.nn.utils.rnn.pad_sequence(mels, batch_first=True), "feats_lengths": lengths,
            "audio": torch.nn.utils.rnn.pad_sequence([torch.from_numpy(x) for x in sounds], batch_first=True),
            "audio_lengths": lengths * 80}


def method_of(config: Config = SMALL, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    mels = batch_of(utterances(6))["feats"]
    inventory = Inventory(features=dataclasses.asdict(FEATURES), mean=tuple(mels.mean((0, 1)).tolist()),
                          std=tuple(mels.std((0, 1)).tolist()))
    return Method(config, inventory)


def prepared(method: Method, number: int = 5, seed: int = 0) -> dict:
    return method.prepare(batch_of(utterances(number)), torch.Generator().manual_seed(seed))


def train_step(method: Method, optimisers: dict, batch: dict, weights: dict[str, float]) -> dict[str, float]:
    values = {}
    for phase, names in method.losses.items():
        optimisers[phase].zero_grad()
        losses, counts = method(batch, phase), method.counts(batch, phase)
        sum(weights[name] * losses[name] / counts[name] for name in names).backward()
        optimisers[phase].step()
        values |= {name: float(losses[name].detach() / counts[name]) for name in names}
    return values


def test_losses_are_those_declared_and_finite():
    method = method_of()
    batch = prepared(method)
    assert list(method.losses) == ["generator", "discriminator"]
    assert method.losses == Method.losses
    for phase, names in method.losses.items():
        losses = method(batch, phase)
        assert tuple(losses) == names or set(losses) == set(names)
        assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
        assert method.counts(batch, phase) == {name: 5.0 for name in names}


def test_without_discriminators_there_is_one_phase():
    method = method_of(dataclasses.replace(SMALL, adversarial=False, spectral_ffts=()))
    assert method.losses == {"generator": ("mel",)}
    assert set(method(prepared(method), "generator")) == {"mel"}
    assert not any(name.startswith("judges") for name in method.state_dict())


@pytest.mark.parametrize("guess", [False, True])
def test_padding_changes_nothing_and_a_split_batch_equals_the_whole(guess):
    method = method_of(dataclasses.replace(SMALL, guess=guess))
    batch = prepared(method)
    assert batch["feats_lengths"].min() < batch["feats_lengths"].max() == 24
    for phase, names in method.losses.items():
        whole = method(batch, phase)
        parts = [method(_alone(batch, i), phase) for i in range(5)]
        for name in names:
            torch.testing.assert_close(whole[name], sum(part[name] for part in parts), rtol=2e-4, atol=1e-4)


def _alone(batch: dict, i: int) -> dict:
    n = int(batch["feats_lengths"][i])
    return {"feats": batch["feats"][i:i + 1, :n], "feats_lengths": batch["feats_lengths"][i:i + 1],
            "audio": batch["audio"][i:i + 1, :n * 80], "audio_lengths": batch["audio_lengths"][i:i + 1]}


def test_gradient_reaches_every_parameter_of_its_phase_and_no_other():
    method = method_of()
    batch = prepared(method)
    own = {phase: {id(p) for p in method.phase_parameters(phase)} for phase in method.losses}
    assert not own["generator"] & own["discriminator"]
    assert own["generator"] | own["discriminator"] == {id(p) for p in method.parameters()}
    for phase in method.losses:
        method.zero_grad(set_to_none=True)
        sum(method(batch, phase).values()).backward()
        for name, parameter in method.named_parameters():
            if id(parameter) in own[phase]:
                assert parameter.grad is not None, name
                # While every judgement lies within the hinge's margins the loss is linear in them, and what a bias
                # adds to the real and to the made may cancel.
                assert parameter.grad.abs().sum() > 0 or (phase == "discriminator" and name.endswith("bias")), name
            else:
                assert parameter.grad is None, name
    assert all(parameter.requires_grad for parameter in method.parameters())


def test_crops_are_aligned_and_drawn_from_the_seeds():
    method = method_of()
    sounds = utterances(6)
    batch = batch_of(sounds)
    crop = method.prepare(batch, torch.Generator().manual_seed(3))
    again = method.prepare(batch, torch.Generator().manual_seed(4))
    other = method.prepare(batch | {"seeds": batch["seeds"] + 6}, torch.Generator().manual_seed(3))
    assert torch.equal(crop["audio"], again["audio"]) and not torch.equal(crop["audio"], other["audio"])
    for i, sound in enumerate(sounds):
        n = int(crop["feats_lengths"][i])
        assert n == min(24, len(sound) // 80) and int(crop["audio_lengths"][i]) == n * 80
        starts = [s for s in range(len(sound) // 80 - n + 1)
                  if np.array_equal(sound[s * 80:(s + n) * 80], crop["audio"][i, :n * 80].numpy())]
        assert any(torch.equal(batch["feats"][i, s:s + n], crop["feats"][i, :n]) for s in starts)
        assert crop["audio"][i, n * 80:].abs().sum() == 0 and crop["feats"][i, n:].abs().sum() == 0


def test_learns_a_few_sounds_and_the_discriminators_tell_them_apart():
    method = method_of(dataclasses.replace(SMALL, crop_frames=48))
    optimisers = {phase: torch.optim.AdamW(method.phase_parameters(phase), lr=2e-3, betas=(0.8, 0.9))
                  for phase in method.losses}
    weights = {name: 1.0 for names in method.losses.values() for name in names} | {"mel": 15.0, "spectral": 5.0}
    batch = prepared(method, 2)
    history = [train_step(method, optimisers, batch, weights) for _ in range(25)]
    assert history[-1]["mel"] < 0.6 * history[0]["mel"]
    assert history[-1]["spectral"] < 0.8 * history[0]["spectral"]
    # Judges that cannot tell anything have a hinge loss of 2.
    assert min(values["judge_period"] + values["judge_resolution"] for values in history) < 3.6


def test_synthesize_does_not_depend_on_the_batch():
    method = method_of(dataclasses.replace(SMALL, guess=True)).eval()
    batch = batch_of(utterances(3))
    with torch.no_grad():
        together = method.synthesize(batch["feats"], batch["feats_lengths"])
        for i, n in enumerate(batch["feats_lengths"].tolist()):
            alone = method.synthesize(batch["feats"][i:i + 1, :n], torch.tensor([n]))
            assert alone.shape == (1, n * 80)
            torch.testing.assert_close(together[i, :n * 80], alone[0], atol=1e-5, rtol=1e-4)
            assert together[i, n * 80:].abs().sum() == 0


def test_autocast_keeps_losses_close():
    method = method_of()
    batch = prepared(method)
    for phase, names in method.losses.items():
        plain = method(batch, phase)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = method(batch, phase)
        for name in names:
            assert abs(mixed[name].item() - plain[name].item()) < 0.05 * abs(plain[name].item()) + 0.05, name


def test_refusals():
    inventory = Inventory(features=dataclasses.asdict(FeatureConfig(kind="fbank")))
    with pytest.raises(SpeechrepError, match="fbank"):
        Method(SMALL, inventory)
    with pytest.raises(SpeechrepError, match="head_fft 100"):
        method_of(dataclasses.replace(SMALL, head_fft=100))
    with pytest.raises(ValueError, match="kernel 6"):
        Config(kernel=6)
    with pytest.raises(ValueError, match="adversarial"):
        Config(periods=())
    with pytest.raises(ValueError, match="windows of 256 samples or more"):
        Config(resolutions=(512, 128))
