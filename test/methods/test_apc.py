"""APC's loss against a loop over frames, its causality, and VQ-APC's codebook."""

import pytest
import torch
from random_batch import DIM, random_batch, random_method, standard

SMALL = {"dim": 12, "layers": 3, "dropout": 0.0}


def mean_metrics(method, batch) -> dict[str, float]:
    return {key: value / count for key, (value, count) in method.metrics(batch).items()}


@pytest.mark.parametrize("stack, codes", [(1, 0), (2, 0), (2, 8)])
def test_loss_and_baseline_by_loop(stack, codes):
    method = random_method("apc", ahead=3, stack=stack, codes=codes, **SMALL).eval()
    batch = method.prepare(random_batch(21, 14, 4), torch.Generator())
    total, copied, count = 0.0, 0.0, 0
    for row, length in enumerate(batch["feats_lengths"].tolist()):
        real = standard(method, batch["feats"][row, :length])
        padded = torch.zeros(-(-length // stack) * stack, DIM)
        padded[:length] = real
        x = padded.view(-1, stack * DIM)
        # The network on this utterance alone, layer by layer.
        y = x[None]
        for i, layer in enumerate(method.recurrent):
            out = layer(y)[0]
            y = out + y if i else out
        if codes:
            ids = method.quantizer.logits(y).argmax(-1)
            y = method.quantizer.codebook[0, ids]
        made = method.out(y)[0].detach()
        for t in range(len(x) - 3):
            for d in range(stack * DIM):
                if (t + 3) * stack + d // DIM < length:
                    total += abs(float(made[t, d]) - float(x[t + 3, d]))
                    copied += abs(float(x[t, d]) - float(x[t + 3, d]))
                    count += 1
    assert method.counts(batch) == {"prediction": count}
    assert float(method(batch)["prediction"].detach()) == pytest.approx(total, rel=1e-4)
    assert mean_metrics(method, batch)["error_of_copy"] == pytest.approx(copied / count, rel=1e-4)


def test_features_do_not_see_the_future():
    method = random_method("apc", **SMALL).eval()
    batch = random_batch(30)
    changed = dict(batch, feats=batch["feats"].clone())
    changed["feats"][:, 20:] += 1
    for a, b in zip(method.layers(batch)[0], method.layers(changed)[0], strict=True):
        assert torch.equal(a[:, :20], b[:, :20]) and not torch.equal(a[:, 20:], b[:, 20:])


def test_training_noise_is_an_utterances_own():
    method = random_method("apc", codes=8, **SMALL).train()
    whole, alone = random_batch(20, 30), random_batch(20, 30)
    alone = {key: value[1:] if not key.endswith("lengths") or len(value) > 1 else value for key, value in alone.items()}
    first = method.prepare(whole, torch.Generator().manual_seed(1))["noise"][1]
    torch.testing.assert_close(method.prepare(alone, torch.Generator().manual_seed(2))["noise"][0], first)


def test_collapse_of_codes_and_predictions():
    method = random_method("apc", codes=8, ahead=2, **SMALL).eval()
    batch = method.prepare(random_batch(80, 90), torch.Generator())
    with torch.no_grad():
        method.quantizer.logits.bias[3] = 100
    assert mean_metrics(method, batch)["perplexity"] == pytest.approx(1)
    healthy = {"prediction_std": 0.5, "target_std": 1.0, "perplexity": 6.0}
    assert method.collapsed(healthy, 1000) is None
    assert "perplexity" in method.collapsed(healthy | {"perplexity": 1.2}, 1000)
    assert "hardly vary" in method.collapsed(mean_metrics(method, batch), 1000)
    assert method.collapsed(mean_metrics(method, batch), 10) is None
