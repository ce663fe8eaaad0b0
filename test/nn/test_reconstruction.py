"""Bricks of masked reconstruction, cepstra and guards, against plain loops."""

import numpy as np
import pytest
import torch
from scipy.fft import dct

from speechrep.data.features import add_deltas
from speechrep.nn.cepstra import cosines, with_differences
from speechrep.nn.guards import few_codes, flat, spread
from speechrep.nn.masking import generators_of
from speechrep.nn.reconstruction import band_mask, cells_inside, replace_hidden, stack, stacked_lengths
from speechrep.nn.standardise import Standardise


def test_stack_by_hand():
    x = torch.arange(1.0, 11).view(1, 5, 2)
    assert stack(x, 2).tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0]]]
    assert stacked_lengths(torch.tensor([5, 4, 1]), 2).tolist() == [3, 2, 1]
    inside = cells_inside(torch.tensor([3, 5]), 5, 2, 2)
    assert inside[0].tolist() == [[True] * 4, [True, True, False, False], [False] * 4]
    assert inside[1].sum() == 10


def test_what_stands_in_hidden_frames():
    torch.manual_seed(0)
    count, size = 3000, 12
    lengths = torch.full((count,), 10)
    x = torch.randn(1, size, 3).repeat(count, 1, 1)
    hidden = torch.zeros(count, size, dtype=torch.bool)
    hidden[:, 2:5] = True
    made = replace_hidden(x, hidden, lengths, generators_of(torch.arange(count)), zero=0.6, copied=0.3)
    torch.testing.assert_close(made[~hidden], x[~hidden])
    kinds = {"zero": 0, "copied": 0, "kept": 0}
    for row in made[:, 2:5]:
        if not row.any():
            kinds["zero"] += 1
        elif torch.equal(row, x[0, 2:5]):
            kinds["kept"] += 1
        else:
            # Each frame of the span is one and the same distance away, within the utterance.
            places = [int((x[0] == frame).all(1).nonzero()[0, 0]) for frame in row]
            assert {(place - i) % 10 for i, place in zip((2, 3, 4), places)} == {(places[0] - 2) % 10}
            assert max(places) < 10
            kinds["copied"] += 1
    assert [kinds[kind] / count for kind in ("zero", "copied", "kept")] == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


def test_band_is_contiguous_and_at_most_so_wide():
    bands = band_mask(20, 0.25, generators_of(torch.arange(2000)))
    widths = bands.sum(1)
    # Widths 0 to 5 are equally likely.
    assert torch.bincount(widths).tolist() == pytest.approx([2000 / 6] * 6, rel=0.2)
    edges = (bands[:, 1:] != bands[:, :-1]).sum(1) + bands[:, 0].long() + bands[:, -1].long()
    assert set(edges[widths > 0].tolist()) == {2}
    assert bands.float().mean(0).min() > 0.02


def test_standardise_and_back():
    brick = Standardise((1.0, -2.0), (0.5, 4.0))
    x = torch.tensor([[[2.0, 2], [9, 9]]])
    assert brick(x, torch.tensor([1])).tolist() == [[[2.0, 1], [0, 0]]]
    torch.testing.assert_close(brick.inverse(brick(x, torch.tensor([2]))), x)


def test_cosines_are_scipys():
    x = np.random.default_rng(0).standard_normal((4, 20))
    np.testing.assert_allclose(x @ cosines(20, 13).numpy(), dct(x, norm="ortho")[:, :13], atol=1e-5)


def test_differences_are_kaldis():
    torch.manual_seed(1)
    x, lengths = torch.randn(2, 15, 4), torch.tensor([15, 11])
    x[1, 11:] = 0
    made = with_differences(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        np.testing.assert_allclose(made[row, :length], add_deltas(x[row, :length].numpy(), 2), atol=1e-5)
    assert not made[1, 11:].any()


def test_spread_by_loop():
    torch.manual_seed(2)
    x, cells = torch.randn(3, 7, 4), torch.rand(3, 7, 4) > 0.4
    wanted = sum(float(x[..., d][cells[..., d]].std(correction=0)) * int(cells[..., d].sum()) for d in range(4))
    total, count = spread(x, cells)
    assert total == pytest.approx(wanted, rel=1e-5) and count == int(cells.sum())


def test_guards_say_what_they_found():
    assert flat({"prediction_std": 0.5, "target_std": 1.0}) is None
    assert "0.01 where the targets have 1" in flat({"prediction_std": 0.01, "target_std": 1.0})
    assert few_codes({"perplexity": 5.0}, 4.0) is None
    assert "perplexity is 1.50" in few_codes({"perplexity": 1.5}, 4.0)
