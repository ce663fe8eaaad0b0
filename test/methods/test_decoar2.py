"""DeCoAR 2.0: both losses against loops, the course of the temperature, and its guards."""

import pytest
import torch
from random_batch import DIM, random_batch, random_method, standard

from speechrep.nn.quantizers import perplexity

SMALL = {"dim": 16, "layers": 1, "heads": 2, "ffn_dim": 32, "kernel": 8, "position_groups": 4, "dropout": 0.0,
         "layerdrop": 0.0, "codes": 8, "span": 6}


@torch.no_grad()
def test_losses_by_loop():
    method = random_method("decoar2", stack=2, **SMALL).eval()
    batch = method.prepare(random_batch(40, 25), torch.Generator())
    total, count, probs = 0.0, 0, torch.zeros(2, 8)
    for row, length in enumerate(batch["feats_lengths"].tolist()):
        # The utterance alone.
        frames = -(-length // 2)
        padded = torch.zeros(frames * 2, DIM)
        padded[:length] = standard(method, batch["feats"][row, :length])
        heard = method.enter(padded.view(1, frames, 2 * DIM))
        for n in range(frames):
            if batch["hidden"][row, n]:
                heard[0, n] = method.mask
        top = method.trunk(heard, torch.zeros(1, frames, dtype=torch.bool))[-1][0]
        for n in range(frames):
            logits = method.quantizer.logits(top[n]).view(2, 8)
            probs += logits.softmax(-1)
            code = torch.cat([method.quantizer.codebook[g, int(logits[g].argmax())] for g in range(2)])
            made = method.head(code)
            for d in range(2 * DIM):
                frame = 2 * n + d // DIM
                if batch["hidden"][row, n] and frame < length:
                    total += abs(float(made[d]) - float(padded[frame, d % DIM]))
                    count += 1
    found = method(batch)
    assert method.counts(batch) == {"reconstruction": count, "diversity": 20 + 13}
    assert float(found["reconstruction"]) == pytest.approx(total, rel=1e-4)
    wanted = (16 - float(perplexity(probs).sum())) / 16
    assert float(found["diversity"]) / 33 == pytest.approx(wanted, abs=1e-5)


@torch.no_grad()
def test_hidden_frames_are_not_seen():
    method = random_method("decoar2", **SMALL).eval()
    batch = method.prepare(random_batch(60, 60), torch.Generator())
    changed = dict(batch, real=batch["real"] + 5 * batch["hidden"][..., None])
    torch.testing.assert_close(method._reconstruct(changed)[0], method._reconstruct(batch)[0])
    # 0.065 spans of 6 a frame: 39 % and fewer where they overlap.
    assert 0.2 < float(batch["hidden"].float().mean()) < 0.4


def test_temperature_falls_to_its_floor_and_is_kept():
    method = random_method("decoar2", temperature=[2.0, 0.5, 0.9], **SMALL)
    assert float(method.temperature) == 2.0
    method.after_step(3)
    assert float(method.temperature) == pytest.approx(2 * 0.9 ** 3)
    assert float(method.state_dict()["temperature"]) == pytest.approx(2 * 0.9 ** 3)
    method.after_step(1000)
    assert float(method.temperature) == 0.5


def test_one_code_is_a_collapse():
    method = random_method("decoar2", **SMALL).eval()
    batch = method.prepare(random_batch(80, 90), torch.Generator())
    with torch.no_grad():
        method.quantizer.logits.bias[[3, 12]] = 100
    values = {key: value / count for key, (value, count) in method.metrics(batch).items()}
    assert values["perplexity"] == pytest.approx(1)
    assert "perplexity" in method.collapsed(values, 1000) and method.collapsed(values, 1) is None
    assert method.collapsed({"perplexity": 6.0, "prediction_std": 0.5, "target_std": 1.0}, 1000) is None
