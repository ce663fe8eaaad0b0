"""The trunk's bricks: rows, dropout, attention, positions."""

import math

import pytest
import torch
import torch.nn.functional as F

from speechrep.nn.attention import Attention, RelativePositions
from speechrep.nn.dropout import Dropout, dropout
from speechrep.nn.grouped_conv import grouped_conv
from speechrep.nn.packing import Rows
from speechrep.nn.trunk import Trunk

KINDS = [{}, {"norm_first": True}, {"positions": "stack", "kernel": 5, "position_layers": 3}, {"bias": "gated"},
         {"local": True}, {"local": True, "norm_first": True}]


def trunk(**changes) -> Trunk:
    torch.manual_seed(0)
    model = Trunk(**dict(layers=3, dim=32, heads=4, ffn_dim=48, kernel=6, groups=4) | changes)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_rows_go_there_and_back():
    rows = Rows(torch.tensor([3, 1, 2]), 4)
    x = torch.arange(24.0).view(3, 4, 2)
    packed = rows.pack(x)
    assert packed[:, 0].tolist() == [0, 2, 4, 8, 16, 18]
    back = rows.unpack(packed)
    assert torch.equal(back, x * rows.inside[..., None])
    assert [len(part) for part in rows.split(packed)] == [3, 1, 2] and torch.equal(rows.pad, ~rows.inside)


@pytest.mark.parametrize("changes", KINDS)
def test_an_utterance_does_not_feel_the_others(changes):
    model = trunk(**changes).eval()
    x, pad = torch.randn(3, 11, 32), torch.arange(11) >= torch.tensor([[11], [4], [7]])
    together = model(x, pad)
    assert len(together) == 4 and all(not y[1, 4:].any() for y in together)
    for row, length in enumerate((11, 4, 7)):
        alone = model(x[row:row + 1, :length], pad[row:row + 1, :length])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[row, :length], b[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("gated", [False, True])
def test_attention_one_by_one_is_attention_padded(gated):
    torch.manual_seed(0)
    attention = Attention(16, 4, gated=gated)
    rows, bias = Rows(torch.tensor([5, 2])), torch.randn(4, 5, 5) if gated else None
    x = torch.randn(7, 16)
    joint = torch.cat([layer(x) for layer in (attention.query, attention.key, attention.value)], -1)
    gates = attention._gates(x) if gated else None
    one = attention._one_by_one(joint, rows, gates, bias, 0.0)
    torch.testing.assert_close(one, attention._padded(joint, rows, gates, bias, 0.0), atol=1e-5, rtol=1e-4)
    query, key, value = (part.view(-1, 4, 4).transpose(0, 1) for part in joint[:5].chunk(3, -1))
    scores = query @ key.transpose(1, 2) / math.sqrt(4)
    if gated:
        scores = scores + gates[:5].T[..., None] * bias
    torch.testing.assert_close(one[:5], (scores.softmax(-1) @ value).transpose(0, 1).flatten(1), atol=1e-5, rtol=1e-4)


def test_attention_in_half_precision_is_attention():
    torch.manual_seed(0)
    attention, rows = Attention(16, 4), Rows(torch.tensor([5, 2]))
    x = torch.randn(7, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = attention(x, rows)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), attention(x, rows), atol=2e-2, rtol=2e-2)


def test_attention_with_dropout_expects_the_same():
    torch.manual_seed(0)
    attention = Attention(16, 4)
    rows, joint = Rows(torch.tensor([6])), torch.randn(6, 48)
    plain = attention._one_by_one(joint, rows, None, None, 0.0)
    mean = sum(attention._one_by_one(joint, rows, None, None, 0.25) for _ in range(3000)) / 3000
    torch.testing.assert_close(mean, plain, atol=0.06, rtol=0.0)


def test_buckets_of_distances():
    positions = RelativePositions(2, buckets=8, farthest=16)
    # Four buckets a direction: 0 and 1 exactly, 2 to 5 in the third (2 ln 3 / ln 8 = 1.06 from 6 on), then the fourth.
    assert positions.bucket(-torch.tensor([0, 1, 2, 5, 6, 15, 90])).tolist() == [0, 1, 2, 2, 3, 3, 3]
    assert positions.bucket(torch.tensor([1, 2, 90])).tolist() == [5, 6, 7]
    bias = positions(3)
    assert torch.equal(bias[1, 0, 2], positions.table.weight[6, 1])  # a key 2 ahead of the query


def test_dropout_keeps_the_expectation_and_its_draws_resume():
    torch.manual_seed(0)
    x = torch.ones(1_000_000, requires_grad=True)
    state = torch.get_rng_state()
    y = dropout(x, 0.1)
    kept = 256 / 230  # the rate is 26 of 256
    assert y.detach().unique().tolist() == pytest.approx([0.0, kept])
    assert float((y == 0).float().mean()) == pytest.approx(26 / 256, abs=0.001)
    assert float(y.detach().mean()) == pytest.approx(1.0, abs=0.002)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    torch.set_rng_state(state)
    assert torch.equal(dropout(x, 0.1), y)


def test_dropout_is_idle_where_it_should_be():
    x = torch.randn(7, 3)
    assert dropout(x, 0.0) is x and dropout(x, 0.5, training=False) is x and Dropout(0.3).eval()(x) is x
    assert dropout(x.bfloat16(), 0.5).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dropout rate 1"):
        dropout(x, 1.0)


def test_layers_are_dropped_and_still_have_a_gradient():
    model = trunk(layerdrop=1.0 - 1e-6, rate=0.0, attention_rate=0.0).train()
    x, pad = torch.randn(1, 5, 32), torch.zeros(1, 5, dtype=torch.bool)
    outputs = model(x, pad)
    assert all(torch.equal(outputs[0], y) for y in outputs)
    outputs[-1].sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.blocks.parameters())


def test_the_inner_outputs_are_those_before_the_residual():
    model = trunk().eval()
    rows = Rows(torch.tensor([5]))
    outputs, inner = model.rows(torch.randn(5, 32), rows)
    block = model.blocks[1]
    middle = block.attention_norm(outputs[1] + block.attention(outputs[1], rows))
    torch.testing.assert_close(inner[1], block.ffn_out(F.gelu(block.ffn_in(middle))))
    torch.testing.assert_close(outputs[2], block.ffn_norm(middle + inner[1]))


@pytest.mark.parametrize("kernel", [1, 4, 5, 8])
def test_grouped_conv_is_conv1d_with_its_gradients(kernel):
    draw = torch.Generator().manual_seed(0)
    rows = Rows(torch.tensor([9, 1, 4]))
    x, weight, bias = (torch.randn(size, generator=draw, dtype=torch.double).requires_grad_()
                       for size in ((14, 6), (8, 3, kernel), (8,)))
    ours = grouped_conv(x, rows, weight, bias, 2)
    peer = torch.cat([F.conv1d(part.T[None], weight, bias, padding=kernel // 2, groups=2)[0, :, :len(part)].T
                      for part in rows.split(x)])
    torch.testing.assert_close(ours, peer)
    up = torch.randn(ours.shape, generator=draw, dtype=torch.double)
    for a, b in zip(torch.autograd.grad(ours, (x, weight, bias), up), torch.autograd.grad(peer, (x, weight, bias), up)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kernel", [8, 19, 32, 128])
@pytest.mark.parametrize("channels", [2, 8, 16, 48])
def test_grouped_conv_in_half_precision_differs_by_its_rounding_only(channels, kernel):
    """What a library gets wrong for some sizes on some processors must not be trained with."""
    draw = torch.Generator().manual_seed(0)
    rows = Rows(torch.tensor([90, 41, 20]))
    x, weight, bias, up = (torch.randn(size, generator=draw).bfloat16().float().requires_grad_() for size in (
        (151, 4 * channels), (4 * channels, channels, kernel), (4 * channels,), (151, 4 * channels)))
    plain = grouped_conv(x, rows, weight, bias, 4)
    with torch.autocast("cpu", torch.bfloat16):
        half = grouped_conv(x, rows, weight, bias, 4)
    wanted = torch.autograd.grad(plain, (x, weight, bias), up)
    found = torch.autograd.grad(half, (x, weight, bias), up.to(half.dtype))
    for a, b in zip((half, *found), (plain, *wanted)):
        assert float((a.detach().float() - b.detach()).norm()) < 0.02 * float(b.detach().norm())
