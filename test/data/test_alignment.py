"""Durations that sum to the number of frames, whatever the times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechrep.data.alignment import format_ali, frames_per_phone, read_ali
from speechrep.errors import SpeechrepError


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60), st.sampled_from([0.005, 0.01, 0.0116, 0.016]),
       st.integers(-1, 1))
def test_sum_is_the_number_of_frames(lengths, hop_sec, extra):
    ends = np.cumsum(lengths)
    frames = max(0, round(ends[-1] / hop_sec) + extra)
    durations = frames_per_phone(ends, frames, hop_sec)
    assert durations.sum() == frames and (durations >= 0).all() and len(durations) == len(ends)
    inner = np.cumsum(durations)[:-1]
    assert (np.abs(inner - np.minimum(ends[:-1] / hop_sec, frames)) <= 0.5 + 1e-6).all()


def test_worked_case():
    assert frames_per_phone(np.array([0.012, 0.031, 0.034, 0.06]), 6, 0.01).tolist() == [1, 2, 0, 3]


def test_line_round_trip():
    line = "SIL 0.1200 DH 0.1600 AH0 0.2150 SIL 2.3400"
    assert format_ali(*read_ali(line)) == line


@pytest.mark.parametrize("line", ["", "SIL", "SIL 0.1 A", "SIL x", "SIL 0.5 A 0.2"])
def test_a_line_that_is_no_alignment_is_refused(line):
    with pytest.raises(SpeechrepError, match="pairs of a phone and its end"):
        read_ali(line)
