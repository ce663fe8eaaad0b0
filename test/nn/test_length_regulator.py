"""The length regulator against numpy, and durations under a stride."""

import numpy as np
import torch
from hypothesis import given, settings, strategies as st

from speechrep.nn.length_regulator import regulate, strided, token_of_frame

durations = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(lambda row: row[-1] > 0), min_size=1,
                     max_size=4)


def padded(rows):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


@settings(max_examples=60, deadline=None)
@given(durations)
def test_repeats_as_numpy_does(rows):
    table = padded(rows)
    size = int(table.sum(1).max())
    tokens = torch.arange(table.numel(), dtype=torch.float32).view(*table.shape, 1) + 1
    frames = regulate(tokens, table, size)
    for row, (values, counts) in enumerate(zip(tokens[..., 0].numpy(), table.numpy())):
        wanted = np.repeat(values, counts)
        np.testing.assert_array_equal(frames[row, :len(wanted), 0].numpy(), wanted)
        assert not frames[row, len(wanted):].any()
        np.testing.assert_array_equal(token_of_frame(table, size)[row, :len(wanted)],
                                      np.repeat(np.arange(len(counts)), counts))


@settings(max_examples=100, deadline=None)
@given(durations, st.sampled_from([1, 2, 4]))
def test_a_stride_keeps_the_sum_and_never_drifts(rows, stride):
    table = padded(rows)
    short = strided(table, stride)
    total = table.sum(1)
    assert (short >= 0).all() and (short.sum(1) == (total + stride - 1) // stride).all()
    drift = short.cumsum(1) - table.cumsum(1) / stride
    assert (drift.abs() <= 1).all()
