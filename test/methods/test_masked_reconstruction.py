"""Mockingjay's and TERA's losses against a loop over cells."""

import pytest
import torch
from random_batch import DIM, random_batch, random_method, standard

SMALL = {"dim": 16, "layers": 1, "heads": 2, "dropout": 0.0}


def by_loop(method, batch, bands=None) -> tuple[float, int]:
    """The loss and its count, cell by cell, from what `prepare` drew; two frames stand side by side."""
    made = method.network(batch["heard"], batch["frames"]).detach()
    total, count = 0.0, 0
    for row, length in enumerate(batch["feats_lengths"].tolist()):
        for frame in range(length):
            for band in range(DIM):
                n, d = frame // 2, frame % 2 * DIM + band
                hidden = bool(batch["cells"][row, n, d])
                if hidden:
                    real = standard(method, batch["feats"][row, frame])[band]
                    total += abs(float(made[row, n, d]) - float(real))
                    count += 1
    return total, count


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("name", ["mockingjay", "tera"])
def test_loss_by_loop(name, local):
    method = random_method(name, stack=2, share=0.4, local=local, **SMALL).eval()
    batch = method.prepare(random_batch(31, 20, 9), torch.Generator())
    total, count = by_loop(method, batch)
    assert count == int(batch["cells"].sum()) == method.counts(batch)["reconstruction"] > 0
    assert float(method(batch)["reconstruction"].detach()) == pytest.approx(total, rel=1e-4)


def test_mockingjay_hides_spans_and_looks_there_only():
    method = random_method("mockingjay", zeroed=1.0, copied=0.0, **SMALL).eval()
    plain = random_batch(*[100] * 200)
    batch = method.prepare(plain, torch.Generator())
    hidden = batch["cells"].all(-1)
    assert torch.equal(hidden, batch["cells"].any(-1))
    # 100 frames at 15 % in spans of 7: 2.14 spans, fewer frames where they overlap.
    assert float(hidden.float().mean()) == pytest.approx(0.14, abs=0.015)
    assert not batch["heard"][hidden].any()
    torch.testing.assert_close(batch["heard"][~hidden], standard(method, plain["feats"])[~hidden])
    # What is hidden cannot be seen: other values there change the loss, not the prediction.
    changed = dict(plain, feats=plain["feats"] + 3 * hidden[..., None])
    again = method.prepare(changed, torch.Generator())
    torch.testing.assert_close(method.network(again["heard"], again["frames"]),
                               method.network(batch["heard"], batch["frames"]))


def test_tera_hides_a_band_in_all_frames():
    method = random_method("tera", zeroed=1.0, copied=0.0, widest_band=0.5, **SMALL).eval()
    batch = method.prepare(random_batch(*[60] * 50), torch.Generator())
    band = batch["cells"].all(1)
    assert 0 < float(band.float().mean()) < 0.5 and int(band.sum(1).max()) <= 3
    assert not batch["heard"][batch["cells"]].any()
    seen = ~batch["cells"]
    torch.testing.assert_close(batch["heard"][seen], batch["real"][seen])


def test_tera_noise_reaches_its_share_of_utterances():
    method = random_method("tera", noise=0.4, noise_std=0.2, **SMALL).eval()
    quiet = random_method("tera", **SMALL).eval()
    plain = random_batch(*[50] * 200)
    with_noise, without = method.prepare(plain, torch.Generator()), quiet.prepare(plain, torch.Generator())
    added = with_noise["heard"] - without["heard"]
    touched = added.flatten(1).any(1)
    assert float(touched.float().mean()) == pytest.approx(0.4, abs=0.1)
    assert float(added[touched].std()) == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("name", ["mockingjay", "tera"])
def test_a_flat_prediction_is_a_collapse(name):
    method = random_method(name, **SMALL).eval()
    batch = method.prepare(random_batch(80, 90), torch.Generator())

    def means():
        return {key: value / count for key, (value, count) in method.metrics(batch).items()}

    assert method.collapsed(means(), 1000) is None
    with torch.no_grad():
        method.network.head.out.weight.zero_()
    assert "hardly vary" in method.collapsed(means(), 1000)
    assert method.collapsed(means(), 10) is None
    # Predicting zeros, the mean, costs what `error_of_mean` says.
    with torch.no_grad():
        method.network.head.out.bias.zero_()
    loss = float(method(batch)["reconstruction"].detach()) / method.counts(batch)["reconstruction"]
    assert means()["error_of_mean"] == pytest.approx(loss, rel=1e-5)
