"""WavLM's own: utterances laid over one another."""

import math

import pytest
import torch

from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.methods import wavlm
from speechrep.nn.masking import generators_of
from speechrep.nn.mixing import Overlay, draw_overlays, mix_audio, mix_log_mel

FEATURES = {"kind": "logmel", "rate_hz": 16000, "hop_samples": 160}
SMALL = dict(front_dim=12, layers=1, dim=16, heads=2, ffn_dim=16, position_kernel=4, position_groups=2, codes=5,
             joint_dim=8, buckets=8, farthest=9)


def small(kind: str = "logmel", **changes) -> wavlm.Method:
    torch.manual_seed(0)
    return wavlm.Method(wavlm.Config(**SMALL | changes), Inventory(features=FEATURES | {"kind": kind}, mean=(0.0,) * 4,
                                                                  std=(1.0,) * 4))


def batch(stream: str) -> dict:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(3, 16000, generator=draw) if stream == "audio" else torch.randn(3, 100, 4, generator=draw)
    lengths = torch.tensor([1.0, 0.8, 0.6]).mul(x.shape[1]).long()
    x = x * (torch.arange(x.shape[1]) < lengths[:, None]).view(3, -1, *[1] * (x.ndim - 2))
    units = torch.randint(5, (3, 50), generator=draw)
    return {stream: x, f"{stream}_lengths": lengths, "seeds": torch.tensor([3, 4, 5]), "units": units,
            "units_lengths": torch.tensor([50, 40, 30])}


def test_overlays_are_as_the_paper_draws_them():
    lengths = torch.tensor([1000, 600, 40, 1000] * 500)
    overlays = draw_overlays(lengths, 0.2, (-5.0, 5.0), generators_of(torch.arange(2000)))
    assert abs(len(overlays) - 400) < 60
    for o in overlays:
        size, other = int(lengths[o.row]), int(lengths[o.partner])
        assert o.partner != o.row and 1 <= o.length <= size // 2 + 1 and -5 <= o.ratio_db <= 5
        assert 0 <= o.start <= size - o.length and 0 <= o.partner_start <= other - o.length
    assert len({o.partner for o in overlays}) > 300
    assert draw_overlays(torch.tensor([9]), 1.0, (0.0, 0.0), generators_of(torch.tensor([1]))) == []
    assert len(draw_overlays(torch.tensor([9, 9]), 1.0, (0.0, 0.0), generators_of(torch.tensor([1, 2])))) == 2


def test_samples_are_added_at_the_ratio_of_energies():
    audio = torch.tensor([[2.0, -2.0, 2.0, -2.0], [0.5, -0.5, 0.0, 0.0]])
    lengths = torch.tensor([4, 2])
    # Energies 4 and 0.25; at 6.02 dB the piece comes in at half of the amplitude of the first.
    mixed = mix_audio(audio, lengths, [Overlay(0, 1, 2, 1, 0, 20 * math.log10(2))])
    torch.testing.assert_close(mixed, torch.tensor([[2.0, -1.0, 1.0, -2.0], [0.5, -0.5, 0.0, 0.0]]))
    silent = mix_audio(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([2, 2]), [Overlay(0, 1, 1, 0, 0, 0.0)])
    assert torch.equal(silent, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_powers_of_log_mel_are_added(exponent):
    power = torch.tensor([[[4.0], [4.0], [4.0]], [[1.0], [1.0], [0.0]]])
    lengths = torch.tensor([3, 2])
    mixed = mix_log_mel(power.clamp(min=1e-30).log() / exponent, lengths, [Overlay(0, 1, 2, 1, 0, 10 * math.log10(2))],
                        exponent)
    torch.testing.assert_close((exponent * mixed[0, :, 0]).exp(), torch.tensor([4.0, 6.0, 6.0]))


@pytest.mark.parametrize("front, stream", [("wave", "audio"), ("mel", "feats")])
def test_only_training_is_disturbed_and_targets_stay(front, stream):
    method, given = small(front=front, mix_share=1.0), batch(stream)
    plain, disturbed = method.eval().prepare(given, torch.Generator()), method.train().prepare(given, torch.Generator())
    assert torch.equal(plain[stream], given[stream])
    assert all(not torch.equal(a, b) for a, b in zip(disturbed[stream], given[stream]))
    assert torch.equal(plain["labels"], disturbed["labels"]) and torch.equal(plain["hidden"], disturbed["hidden"])
    again = method.prepare(given, torch.Generator())
    assert torch.equal(again[stream], disturbed[stream])


def test_features_that_cannot_be_mixed_are_refused():
    with pytest.raises(SpeechrepError, match="kind mfcc"):
        small("mfcc", front="mel")
    small("mfcc", front="mel", mix_share=0.0)


def test_a_collapse_stops_the_run():
    fallen = {"accuracy": 0.1, "majority": 0.2, "guessed_perplexity": 1.0}
    assert small(guard_steps=10).collapsed(fallen, 10) and small(guard_steps=10).collapsed(fallen, 9) is None
