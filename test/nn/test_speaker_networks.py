"""x-vector, ECAPA-TDNN, margin, crops and what diarisation trains by: values, padding, plain loops."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from speechrep.nn.crops import crop, draw_starts
from speechrep.nn.ecapa import ECAPA, AttentivePooling
from speechrep.nn.margin import AdditiveMargin
from speechrep.nn.masking import pad_mask
from speechrep.nn.pit import permutation_invariant_bce, stitch
from speechrep.nn.xvector import CONTEXTS, REACH, XVector


def test_xvector_is_a_chain_of_convolutions_without_padding():
    torch.manual_seed(0)
    network = XVector(7, 12, 20, 9)
    x = torch.randn(1, 40, 7)
    y = network.enter(x).transpose(1, 2)
    for affine, (context, dilation) in zip(network.tdnn, CONTEXTS):
        weight = affine.weight.view(len(affine.weight), 2 * context + 1, -1).transpose(1, 2)
        y = F.conv1d(y, weight, affine.bias, dilation=dilation).relu()
    assert y.shape[2] == 40 - 2 * REACH == 40 - 14
    pooled = torch.cat([y.mean(2), y.var(2, unbiased=False).clamp(min=1e-6).sqrt()], 1)
    expected = F.relu(network.embed(pooled))
    torch.testing.assert_close(network.embedding(x, torch.tensor([40])), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(x, torch.tensor([40])), network.out(expected), rtol=1e-4, atol=1e-5)


def test_superbs_xvector_has_its_sizes():
    network = XVector(768)
    assert [affine.in_features for affine in network.tdnn] == [5 * 512, 3 * 512, 3 * 512, 512, 512]
    assert network.tdnn[-1].out_features == 1500 and network.embed.in_features == 3000
    assert network.embed.out_features == network.out.in_features == network.out.out_features == 512


@pytest.mark.parametrize("make", [lambda: XVector(6, 16, 24, 10), lambda: ECAPA(6, 16, 24, 10, 4, 8)])
def test_neither_padding_nor_neighbours_change_an_embedding(make):
    torch.manual_seed(1)
    network = make()
    rows = [torch.randn(size, 6) for size in (50, 31, 9, 1)]
    lengths = torch.tensor([len(row) for row in rows])
    together = torch.nn.utils.rnn.pad_sequence(rows, True, padding_value=5.0)
    found = network.embedding(together, lengths)
    assert found.shape == (4, 10) and torch.isfinite(found).all()
    for row, embedding in zip(rows, found):
        alone = network.embedding(row[None], torch.tensor([len(row)]))[0]
        torch.testing.assert_close(embedding, alone, rtol=1e-4, atol=1e-5)
    network(together, lengths).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_attentive_pooling_is_a_weighted_mean_and_deviation():
    torch.manual_seed(2)
    pool = AttentivePooling(5, 4)
    x = torch.randn(1, 8, 5)
    pad = pad_mask(torch.tensor([6]), 8)
    real = x[0, :6]
    view = torch.cat([real, real.mean(0).expand(6, 5), real.std(0, unbiased=False).expand(6, 5)], 1)
    scores = pool.score(torch.tanh(pool.hidden(view))).detach()
    found = pool(x.masked_fill(pad[..., None], 0), pad)[0].detach()
    for channel in range(5):
        weights = scores[:, channel].softmax(0)
        mean = sum(float(w * v) for w, v in zip(weights, real[:, channel]))
        second = sum(float(w * v * v) for w, v in zip(weights, real[:, channel]))
        assert found[channel].item() == pytest.approx(mean, abs=1e-5)
        assert found[5 + channel].item() == pytest.approx((second - mean ** 2) ** 0.5, abs=1e-4)


def test_the_margin_by_hand():
    """Cosines 0.8 and 0.6 with the two classes: the true one is scored 30 * (0.8 - 0.4) against 30 * 0.6."""
    loss = AdditiveMargin(2, 2, 30.0, 0.4)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    x = torch.tensor([[8.0, 6.0], [0.8, 0.6]])
    assert loss.cosines(x)[0].tolist() == pytest.approx([0.8, 0.6])
    expected = np.log(1 + np.exp(30 * 0.6 - 30 * 0.4))
    assert loss(x[:1], torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)
    assert loss(x, torch.tensor([0, -1])).item() == pytest.approx(expected, rel=1e-5)
    loss.margin = 0.0
    assert loss(x[:1], torch.tensor([0])).item() == pytest.approx(np.log(1 + np.exp(30 * 0.6 - 30 * 0.8)), rel=1e-4)


def test_crops_take_the_same_frames_of_all_that_is_cropped():
    lengths, seeds = torch.tensor([20, 7, 3]), torch.tensor([1, 2, 3])
    x = torch.arange(20.0)[None, :, None].repeat(3, 1, 2).masked_fill(pad_mask(lengths, 20)[..., None], -1)
    starts = draw_starts(lengths, 5, seeds)
    assert starts.tolist() == draw_starts(lengths, 5, seeds).tolist() and starts[2] == 0
    window, left = crop(x, lengths, starts, 5)
    assert left.tolist() == [5, 5, 3] and window.shape == (3, 5, 2)
    for row, start, length in zip(window[..., 0], starts.tolist(), left.tolist()):
        assert row[:length].tolist() == list(range(start, start + length)) and (row[length:] == 0).all()
    drawn = {int(draw_starts(torch.tensor([20]), 5, torch.tensor([seed]))) for seed in range(300)}
    assert drawn == set(range(16))
    # An utterance draws the same in whatever batch it is.
    assert draw_starts(lengths[1:], 5, seeds[1:]).tolist() == starts[1:].tolist()
    short, left = crop(x[2:, :3], lengths[2:], starts[2:], 5)
    assert short.shape == (1, 3, 2) and left.tolist() == [3]


@pytest.mark.parametrize("speakers", [1, 2, 3, 4])
def test_permutation_invariant_loss_is_the_least_of_all_orders(speakers):
    torch.manual_seed(speakers)
    lengths = torch.tensor([12, 7])
    pad = pad_mask(lengths, 12)
    logits, targets = torch.randn(2, 12, speakers), torch.randint(0, 2, (2, 12, speakers)).float()
    found, orders = permutation_invariant_bce(logits.requires_grad_(), targets, pad)
    for row, length in enumerate(lengths.tolist()):
        losses = {order: float(F.binary_cross_entropy_with_logits(
            logits[row, :length].detach(), targets[row, :length][:, list(order)], reduction="sum"))
            for order in itertools.permutations(range(speakers))}
        assert float(found[row].detach()) == pytest.approx(min(losses.values()), rel=1e-5)
        assert losses[tuple(orders[row].tolist())] == pytest.approx(min(losses.values()), rel=1e-5)
    found.sum().backward()
    assert (logits.grad[1, 7:] == 0).all() and (logits.grad[0] != 0).all()


@pytest.mark.parametrize("length", [100, 83, 61, 40])
def test_chunks_come_into_one_order(length):
    """A recording cut into chunks, the speakers of each shuffled, is put together again up to one order for all."""
    generator = torch.Generator().manual_seed(length)
    truth = (torch.rand(length, 3, generator=generator) > 0.5).float()
    size, hop = 40, 20
    count = 1 + max(0, -(-(length - size) // hop))
    whole = F.pad(truth, (0, 0, 0, (count - 1) * hop + size - length), value=0.5)
    orders = [torch.randperm(3, generator=generator) for _ in range(count)]
    chunks = torch.stack([whole[i * hop:i * hop + size][:, order] for i, order in enumerate(orders)])
    torch.testing.assert_close(stitch(chunks, hop, length), truth[:, orders[0]])
    if count > 2:
        as_they_come = torch.cat([chunk[:hop] for chunk in chunks])[:length]
        assert not torch.equal(as_they_come, truth[:len(as_they_come)][:, orders[0]])


def test_overlapping_chunks_are_averaged():
    chunks = torch.tensor([[[0.9], [0.5], [0.1]], [[0.7], [0.3], [0.2]]])
    assert stitch(chunks, 1, 4)[:, 0].tolist() == pytest.approx([0.9, 0.6, 0.2, 0.2])
