"""Durations that sum to the number of frames, whatever the times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechrep.align.durations import format_ali, frames_per_phone, read_ali, strided


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60), st.sampled_from([0.005, 0.01, 0.0116, 0.016]),
       st.integers(-1, 1))
def test_sum_is_the_number_of_frames(lengths, hop_sec, extra):
    ends = np.cumsum(lengths)
    frames = max(0, round(ends[-1] / hop_sec) + extra)
    durations = frames_per_phone(ends, frames, hop_sec)
    assert durations.sum() == frames and (durations >= 0).all() and len(durations) == len(ends)
    inner = np.cumsum(durations)[:-1]
    assert (np.abs(inner - np.minimum(ends[:-1] / hop_sec, frames)) <= 0.5 + 1e-6).all()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=50), st.integers(1, 6))
def test_strided(durations, stride):
    result = strided(np.array(durations), stride)
    total = -(-sum(durations) // stride)
    assert result.sum() == total and (result >= 0).all()
    assert (np.abs(np.cumsum(result)[:-1] - np.cumsum(durations)[:-1] / stride) <= 0.5 + 1e-9).all() or total == 0


def test_worked_case():
    assert frames_per_phone(np.array([0.012, 0.031, 0.034, 0.06]), 6, 0.01).tolist() == [1, 2, 0, 3]
    assert strided(np.array([1, 2, 0, 4]), 2).tolist() == [1, 1, 0, 2]


def test_bad_stride():
    with pytest.raises(ValueError):
        strided(np.array([1, 2]), 0)


def test_line_round_trip():
    line = "SIL 0.1200 DH 0.1600 AH0 0.2150 SIL 2.3400"
    assert format_ali(*read_ali(line)) == line
