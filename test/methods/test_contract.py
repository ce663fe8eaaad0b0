"""The one contract, run on every method there is: a new file in speechrep/methods is tested by naming a small size in
small/NAME.yaml beside this file."""

from pathlib import Path

import pytest
import torch
from toy_corpus import folder, make_corpus

from speechrep.config import build, read_yaml
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.errors import SpeechrepError
from speechrep.methods.base import Method, find_method, method_names
from speechrep.train import loop
from speechrep.train.distributed import World

SMALL = {path.stem: read_yaml(path) for path in sorted((Path(__file__).parent / "small").glob("*.yaml"))}
"""`model`: a small size. `overfit`: the share of its first loss that 150 steps on ten utterances must get the method
below, `steps` and `lr` where they are others, and what to change in `model` for that."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 10, "dev": 2})


def make(name: str, corpus: Path, **changes) -> tuple[Method, SpeechDataset]:
    cls = find_method(name)
    inventory = take_inventory(folder(corpus, "train"), corpus / "dump/logmel/train")
    torch.manual_seed(0)
    method = cls(build(cls.Config, SMALL[name]["model"] | changes), inventory)
    return method, SpeechDataset(folder(corpus, "train"), corpus / "dump/logmel/train", inventory, method.needs)


def losses(method: Method, batch: dict, phase: str) -> tuple[dict, dict]:
    # The same draws for every call: what is tested is the batch.
    torch.manual_seed(3)
    batch = method.prepare(batch, torch.Generator().manual_seed(3))
    return method(batch, phase), method.counts(batch, phase)


def test_every_method_is_tested():
    assert sorted(SMALL) == method_names()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_losses_are_finite_named_sums_with_counts(name, corpus):
    method, dataset = make(name, corpus)
    batch = collate([dataset[i] for i in range(4)])
    for phase, names in method.losses.items():
        sums, counts = losses(method, batch, phase)
        assert set(sums) == set(counts) == set(names)
        for loss in names:
            assert sums[loss].ndim == 0 and torch.isfinite(sums[loss]) and counts[loss] > 0


@pytest.mark.parametrize("name", sorted(SMALL))
def test_padding_changes_nothing(name, corpus):
    method, dataset = make(name, corpus)
    method.eval()
    batch = collate([dataset[i] for i in range(3)])
    wider = dict(batch)
    for key, more in (("feats", 17), ("phones", 3), ("durations", 3), ("prompt", 9), ("audio", 17 * dataset.hop),
                      ("units", 8)):
        if key in batch:
            wider[key] = torch.nn.functional.pad(batch[key], (0, 0) * (batch[key].ndim - 2) + (0, more))
    for phase in method.losses:
        (plain, counts), (padded, padded_counts) = losses(method, batch, phase), losses(method, wider, phase)
        assert counts == padded_counts
        for loss in plain:
            torch.testing.assert_close(plain[loss], padded[loss], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_split_batch_adds_up_to_the_whole(name, corpus):
    method, dataset = make(name, corpus)
    method.eval()
    items = [dataset[i] for i in range(4)]
    for phase, names in method.losses.items():
        whole = losses(method, collate(items), phase)
        parts = [losses(method, collate([item]), phase) for item in items]
        for loss in set(names) - method.across_batch:
            added = sum(part[0][loss] for part in parts)
            torch.testing.assert_close(added, whole[0][loss], rtol=1e-3, atol=1e-3)
            assert sum(part[1][loss] for part in parts) == pytest.approx(whole[1][loss])


@pytest.mark.parametrize("name", sorted(SMALL))
def test_gradient_reaches_every_parameter_of_a_phase(name, corpus):
    method, dataset = make(name, corpus)
    method.train()
    batch = collate([dataset[i] for i in range(len(dataset))])
    for phase in method.losses:
        method.zero_grad()
        sums, counts = losses(method, batch, phase)
        sum(sums[loss] / counts[loss] for loss in sums).backward()
        moved = {id(p) for p in method.phase_parameters(phase)}
        for parameter_name, parameter in method.named_parameters():
            if id(parameter) in moved and parameter.requires_grad:
                assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", sorted(SMALL))
def test_frame_lengths_agree_with_layers(name, corpus):
    method, dataset = make(name, corpus)
    method.eval()
    batch = collate([dataset[i] for i in range(3)])
    try:
        with torch.no_grad():
            layers, lengths = method.layers(batch)
    except SpeechrepError as error:
        assert "no frame features" in str(error)
        return
    assert torch.equal(lengths, method.frame_lengths(batch[f"{method.needs[0].partition(':')[0]}_lengths"]))
    assert all(layer.shape[:2] == (3, int(lengths.max())) for layer in layers)
    alone = method.layers(collate([dataset[1]]))[0]
    for a, b in zip(layers, alone, strict=True):
        torch.testing.assert_close(a[1:2, :b.shape[1]], b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_ten_utterances_can_be_overfitted(name, corpus):
    wanted = {"steps": 150, "lr": 3e-3, "model": {}} | SMALL[name]["overfit"]
    method, dataset = make(name, corpus, **wanted["model"])
    method.train()
    batch = collate([dataset[i] for i in range(10)])
    optimisers = {phase: torch.optim.AdamW(method.phase_parameters(phase), wanted["lr"]) for phase in method.losses}
    first_phase = next(iter(method.losses))
    history = []
    for step in range(wanted["steps"]):
        for phase, optimiser in optimisers.items():
            optimiser.zero_grad()
            sums, counts = losses(method, batch, phase)
            total = sum(sums[loss] / counts[loss] for loss in sums)
            total.backward()
            optimiser.step()
            if phase == first_phase:
                history.append(float(total.detach()))
        method.after_step(step + 1)
    assert history[-1] < wanted["share"] * history[0], history[::15]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_stopped_run_goes_on_to_the_same_weights(name, precision, corpus, tmp_path, monkeypatch):
    config = loop.TrainConfig(steps=6, batch_sec=4, lr=1e-3, warmup=2, dev_every=3, save_every=100, precision=precision,
                              ema=0.9)

    def run(exp: str) -> dict:
        torch.manual_seed(5)
        method, dataset = make(name, corpus)
        dev = SpeechDataset(folder(corpus, "dev"), corpus / "dump/logmel/dev", method.inventory, method.needs)
        weights = {loss: 1.0 for names in method.losses.values() for loss in names}
        (tmp_path / exp).mkdir(exist_ok=True)
        loop.fit(name, method, weights, config, dataset, dev, tmp_path / exp, 0, World())
        return torch.load(tmp_path / exp / "last.pt", weights_only=True)["model"]

    whole = run("whole")
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(World, "any", lambda self, flag: calls.append(None) or len(calls) == 4)
        with pytest.raises(SpeechrepError, match="stopped at step 4"):
            run("cut")
    cut = run("cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
