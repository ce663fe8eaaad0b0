"""Heads of recognisers and SpecAugment."""

import pytest
import torch
from torch import nn

from speechrep.nn.ctc_head import CTCHead
from speechrep.nn.recurrent import BLSTM
from speechrep.nn.spec_augment import MOST_ADAPTIVE, SpecAugment, spans, warp_time


def test_superb_heads_have_superbs_parts():
    """Phones: 768 x 256 and 256 x 72 with biases. Characters: 768 x 1024, LSTM layers of 4 gates each way, 2048 x
    32."""
    phones = CTCHead("linear", 768, 256, 0, 0.0, 72)
    assert sum(p.numel() for p in phones.parameters()) == 769 * 256 + 257 * 72
    x = torch.randn(2, 5, 768)
    parts = dict(phones.named_modules())
    assert torch.allclose(phones(x, torch.tensor([5, 5])), parts["out"](parts["enter"](x)))
    chars = CTCHead("blstm", 768, 1024, 2, 0.2, 32)
    layers = [2 * 4 * 1024 * (size + 1024 + 2) for size in (1024, 2048)]
    assert sum(p.numel() for p in chars.parameters()) == 769 * 1024 + sum(layers) + 2049 * 32
    with pytest.raises(ValueError, match="head kind"):
        CTCHead("gru", 8, 8, 1, 0.0, 4)


@pytest.mark.parametrize("kind", ["linear", "blstm", "tdnn"])
def test_padding_changes_nothing(kind):
    torch.manual_seed(0)
    head = CTCHead(kind, 6, 8, 2, 0.1, 4).eval()
    x, lengths = torch.randn(3, 12, 6), torch.tensor([12, 5, 9])
    together = head(x, lengths)
    for row, size in enumerate(lengths.tolist()):
        assert torch.allclose(together[row, :size], head(x[row:row + 1, :size], lengths[row:row + 1])[0], atol=1e-6)


def test_blstm_is_torchs():
    """The two-layer LSTM of torch with the same weights."""
    torch.manual_seed(0)
    own, peer = BLSTM(6, 5, 2, 0.0), nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True)
    for i, layer in enumerate(own.layers):
        for name, value in layer.named_parameters():
            getattr(peer, name.replace("_l0", f"_l{i}")).data.copy_(value)
    x = torch.randn(2, 7, 6)
    assert torch.allclose(own(x, torch.tensor([7, 7])), peer(x)[0], atol=1e-6)
    assert (own(x, torch.tensor([7, 3]))[1, 3:] == 0).all()


def test_spans_by_hand():
    # Widths floor(0.5 * 4) = 2 and floor(0.9 * 4) = 3, starts floor(0 * 9) = 0 and floor(0.99 * 8) = 7 of 10 frames.
    draws = torch.tensor([[[0.5, 0.0], [0.9, 0.99]], [[0.0, 0.5], [0.99, 0.5]]])
    found = spans(draws, torch.tensor([10, 2]), torch.tensor([4, 4]), 10).int().tolist()
    # In 2 frames the widest is below 2: floor(0.99 * 2) = 1, starting at floor(0.5 * 2) = 1.
    assert found == [[1, 1, 0, 0, 0, 0, 0, 1, 1, 1], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]


def test_masks_keep_to_their_bounds():
    augment = SpecAugment(time_masks=2, time_width=5, dim_masks=3, dim_width=4)
    x, lengths = torch.ones(200, 30, 16), torch.tensor([30, 20] * 100)
    out = augment(x, lengths, augment.draw(torch.arange(200)))
    frames, dims = (out == 0).all(2), (out == 0).all(1)
    assert frames.sum(1).max() <= 8 and dims.sum(1).max() <= 9
    assert 3 <= frames[::2].sum(1).float().mean() <= 4.8 and frames[::2, 25:].any() and not frames[1::2, 20:].any()
    assert out[~frames][:, :].shape[1] == 16 and set(out.unique().tolist()) == {0.0, 1.0}
    alone = augment(x[3:4], lengths[3:4], augment.draw(torch.tensor([3])))
    assert torch.equal(out[3:4], alone), "by its own seed alone"


def test_adaptive_masks_grow_with_the_length():
    augment = SpecAugment(time_width=40, adaptive=0.04)
    out = augment(torch.ones(50, 500, 1), torch.tensor([500] * 25 + [20] * 25), augment.draw(torch.arange(50)))
    hidden = (out == 0)[..., 0].sum(1)
    # 20 masks of below 20 frames in 500; none in 20, of which 4 % is no frame.
    assert MOST_ADAPTIVE == 20 and 60 < hidden[:25].float().mean() < 190 and (hidden[25:] == 0).all()


def test_warped_time():
    """A ramp stays a ramp of two slopes with its ends, and the point 10 of 20 frames goes to 13."""
    ramp = torch.arange(21.0)[None, :, None].repeat(2, 1, 1)
    source, target = (10 - 4) / (20 - 8), (13 - 10 + 4) / 8
    out = warp_time(ramp, torch.tensor([21, 8]), 4, torch.tensor([[source, target]] * 2))
    assert out[0, [0, 13, 20], 0].tolist() == pytest.approx([0, 10, 20], abs=1e-4)
    assert out[0, 1, 0] == pytest.approx(10 / 13, abs=1e-4) and out[0, 19, 0] == pytest.approx(20 - 10 / 7, abs=1e-4)
    assert torch.equal(out[1], ramp[1]), "too short to be warped"
    still = warp_time(ramp, torch.tensor([21, 21]), 4, torch.tensor([[0.3, 0.5]] * 2))
    assert torch.allclose(still, ramp, atol=1e-4)
    shorter = warp_time(ramp, torch.tensor([21, 15]), 4, torch.tensor([[0.3, 0.9]] * 2))
    assert torch.equal(shorter[1, 15:], ramp[1, 15:]) and not torch.allclose(shorter[1, :15], ramp[1, :15])
