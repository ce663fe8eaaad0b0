"""Spans to hide."""

import torch

from speechrep.nn.masking import generators_of, span_mask


def draw(lengths, share, span, least=1, seed=0):
    return span_mask(torch.tensor(lengths), share, span, generators_of(torch.arange(len(lengths)) + seed), least)


def test_spans_stay_inside_and_are_whole():
    for seed in range(30):
        hidden = draw([50, 23, 11], 0.65, 10, seed=100 * seed)
        assert hidden.shape == (3, 50) and not hidden[1, 23:].any() and not hidden[2, 11:].any()
        for row, length in zip(hidden, (50, 23, 11)):
            runs = "".join("x" if flag else "." for flag in row[:length]).split(".")
            assert all(len(run) == 0 or len(run) >= 10 for run in runs) and row.any()


def test_as_many_as_wanted_on_average():
    # 0.65 * 40 / 10 = 2.6 starts; single frames cannot overlap, so with a span of 1 the share is exact on average.
    hidden = span_mask(torch.full((4000,), 41), 0.3, 1, generators_of(torch.arange(4000)), 1)
    counts = hidden.sum(1)
    assert set(counts.tolist()) == {12, 13} and abs(float(counts.float().mean()) - 12.3) < 0.03


def test_least_and_short_utterances():
    hidden = draw([4, 1, 2, 30], 0.0, 10, least=2)
    assert hidden.sum(1)[:3].tolist() == [4, 1, 2] and hidden[3].sum() >= 11


def test_an_utterance_draws_from_its_own_generator():
    together, alone = draw([40, 30, 20], 0.65, 5), draw([30], 0.65, 5, seed=1)
    assert torch.equal(together[1, :30], alone[0])
