"""VQ-VAE: both losses against loops, jitter, codes that move once a step, voice conversion."""

import pytest
import torch
from random_batch import DIM, random_batch, random_method, standard

SMALL = {"dim": 16, "encoder_layers": 1, "code_dim": 4, "codes": 8, "decoder_dim": 16, "decoder_layers": 1,
         "speaker_dim": 3}


@torch.no_grad()
@pytest.mark.parametrize("hears", ["mfcc", "logmel"])
def test_losses_by_loop(hears):
    method = random_method("vqvae", hears=hears, **SMALL).eval()
    batch = method.prepare(random_batch(15, 10), torch.Generator())
    with torch.no_grad():
        method.quantizer.codebook.normal_()
    reconstruction = commitment = 0.0
    layers, lengths = method.layers(batch)
    for row, length in enumerate(batch["feats_lengths"].tolist()):
        codes = []
        for n in range(int(lengths[row])):
            distances = [float((layers[-2][row, n] - code).square().sum()) for code in method.quantizer.codebook]
            best = min(range(8), key=lambda k: distances[k])
            commitment += distances[best]
            codes.append(method.quantizer.codebook[best])
            torch.testing.assert_close(layers[-1][row, n], codes[-1])
        made = method.decode(torch.stack(codes)[None], lengths[row:row + 1], batch["speaker"][row:row + 1])[0]
        for frame in range(length):
            for band in range(DIM):
                real = standard(method, batch["feats"][row, frame])[band]
                reconstruction += abs(float(made[frame, band]) - float(real))
    found = method(batch)
    assert float(found["reconstruction"]) == pytest.approx(reconstruction, rel=1e-4)
    assert float(found["commitment"]) == pytest.approx(commitment, rel=1e-4)
    assert method.counts(batch) == {"reconstruction": 25 * DIM, "commitment": (8 + 5) * 4}


def test_jitter_takes_neighbours_at_its_rate():
    method = random_method("vqvae", jitter=0.3, **SMALL).train()
    source = method.prepare(random_batch(*[400] * 20), torch.Generator())["source"]
    step = (source - torch.arange(200))[:, 1:-1]
    shares = [float((step == move).float().mean()) for move in (-1, 0, 1)]
    assert shares == pytest.approx([0.15, 0.7, 0.15], abs=0.02)
    assert int(source.min()) == 0 and int(source.max()) == 199
    assert torch.equal(method.eval().prepare(random_batch(400), torch.Generator())["source"][0], torch.arange(200))


def test_codes_move_after_the_step_only():
    method = random_method("vqvae", **SMALL).train()
    before = method.quantizer.codebook.clone()
    for seed in range(2):
        method(method.prepare(random_batch(40, 30, seed=seed), torch.Generator()))
        assert torch.equal(method.quantizer.codebook, before)
    method.after_step(1)
    assert not torch.equal(method.quantizer.codebook, before)


def test_conversion_finds_the_speaker_and_takes_the_voice():
    """Voices are a constant apart; what is said is a rise or a fall."""
    method = random_method("vqvae", hears="logmel", jitter=0.0, **SMALL).train()
    batch = random_batch(*[40] * 12)
    ramp = torch.linspace(-2, 2, 40)[None, :, None] * torch.where(torch.arange(12) % 4 < 2, 1.0, -1.0)[:, None, None]
    offset = torch.tensor([-3.0, 3.0])[batch["speaker"]][:, None, None]
    batch["feats"] = (ramp + offset).expand(-1, -1, DIM) + 0.05 * torch.randn(12, 40, DIM)
    optimiser = torch.optim.AdamW(method.parameters(), 3e-3)
    for step in range(150):
        optimiser.zero_grad()
        prepared = method.prepare(batch, torch.Generator())
        sums, counts = method(prepared), method.counts(prepared)
        sum(sums[name] / counts[name] for name in sums).backward()
        optimiser.step()
        method.after_step(step)
    method.eval()
    feats, lengths = batch["feats"], batch["feats_lengths"]
    with torch.no_grad():
        assert torch.equal(method.speaker_of(feats, lengths), batch["speaker"])
        own = method.convert(feats, lengths, feats.roll(2, 0), lengths)
        other = method.convert(feats, lengths, feats.roll(1, 0), lengths)
    assert own.shape == other.shape == feats.shape
    # The prompt's voice: own features where it is one's own, else the other's offset.
    assert float((own - feats).abs().mean()) < 0.7
    assert other.mean((1, 2)).tolist() == pytest.approx((-offset[:, 0, 0]).tolist(), abs=1.0)


def test_few_codes_are_a_collapse():
    method = random_method("vqvae", **SMALL).eval()
    batch = method.prepare(random_batch(80, 90), torch.Generator())
    with torch.no_grad():
        method.quantizer.codebook.fill_(100)
        method.quantizer.codebook[2] = 0
    values = {key: value / count for key, (value, count) in method.metrics(batch).items()}
    assert values["perplexity"] == pytest.approx(1) and values["used_codes"] == 1
    assert "perplexity" in method.collapsed(values, 1000) and method.collapsed(values, 1) is None
    assert method.collapsed({"perplexity": 6.0, "prediction_std": 0.5, "target_std": 1.0}, 1000) is None
