"""DER against pyannote.metrics and hand-worked cases; the best pairing against scipy."""

import numpy as np
import pytest

from speechrep.data.lists import read_list
from speechrep.data.rttm import format_turns, read_rttm, read_turns, write_rttm
from speechrep.errors import SpeechrepError
from speechrep.metrics.assignment import best_pairs
from speechrep.metrics.der import diarisation_errors, frame_errors, merged


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5), (5, 3), (7, 7), (12, 4)])
def test_the_best_pairing_is_scipys(shape):
    from scipy.optimize import linear_sum_assignment
    rng = np.random.default_rng(sum(shape))
    for gain in (rng.random(shape), rng.integers(0, 3, shape), -rng.random(shape), np.zeros(shape)):
        pairs = best_pairs(gain)
        rows, columns = zip(*pairs)
        assert len(pairs) == min(shape) == len(set(rows)) == len(set(columns))
        assert sum(gain[pair] for pair in pairs) == pytest.approx(gain[linear_sum_assignment(gain, maximize=True)].sum())


def random_turns(rng, speakers, count):
    turns = []
    for speaker in range(speakers):
        edges = np.sort(rng.choice(2000, 2 * count, replace=False)) / 100
        own = edges.reshape(-1, 2).tolist()
        # Of every other one the speaker goes on at once with another turn, which has collars too.
        for i, (start, end) in list(enumerate(own))[::2]:
            middle = round((start + end) / 2, 2)
            if start < middle < end:
                own[i] = [start, middle]
                own.append([middle, end])
        turns += [(f"s{speaker}", start, end) for start, end in own]
    return turns


@pytest.mark.parametrize("collar_sec", [0.0, 0.25, 0.1])
@pytest.mark.parametrize("overlap", [True, False])
def test_equals_pyannote(collar_sec, overlap):
    core = pytest.importorskip("pyannote.core")
    metrics = pytest.importorskip("pyannote.metrics.diarization")

    def annotation(turns):
        found = core.Annotation()
        for number, (name, start, end) in enumerate(turns):
            found[core.Segment(start, end), number] = name
        return found

    rng = np.random.default_rng(3)
    judge = metrics.DiarizationErrorRate(collar=2 * collar_sec, skip_overlap=not overlap)
    scored = 0
    for speakers, said, count in ((1, 1, 3), (2, 2, 5), (2, 3, 8), (4, 2, 4), (5, 6, 6)):
        reference, hypothesis = random_turns(rng, speakers, count), random_turns(rng, said, count)
        hypothesis = [(f"h{name}", start, end) for name, start, end in hypothesis]
        uem = core.Timeline([core.Segment(0, 20)])
        true = judge(annotation(reference), annotation(hypothesis), uem=uem, detailed=True)
        found = diarisation_errors(reference, hypothesis, collar_sec, overlap)
        assert found.miss == pytest.approx(true["missed detection"], abs=1e-6)
        assert found.false_alarm == pytest.approx(true["false alarm"], abs=1e-6)
        assert found.confusion == pytest.approx(true["confusion"], abs=1e-6)
        assert found.speech == pytest.approx(true["total"], abs=1e-6)
        scored += found.speech > 0
    assert scored >= 3


def test_hand_worked_cases():
    reference = [("a", 0.0, 4.0), ("b", 3.0, 8.0)]
    # b is called x and ends a second early, a is called y and goes on half a second too long, within b's time.
    found = diarisation_errors(reference, [("y", 0.0, 4.5), ("x", 3.0, 7.0)])
    assert (found.miss, found.false_alarm, found.confusion, found.speech) == pytest.approx((1.0, 0.5, 0.0, 9.0))
    # One voice for all: what is not a's is missed or confused.
    found = diarisation_errors(reference, [("x", 0.0, 8.0)])
    assert (found.miss, found.false_alarm, found.confusion) == pytest.approx((1.0, 0.0, 3.0))
    assert found.errors / found.speech == pytest.approx(4 / 9)
    # Without overlap 3 to 4 is not scored; with a collar neither is what lies within it of 0, 3, 4 and 8.
    found = diarisation_errors(reference, [("x", 0.0, 8.0)], overlap=False)
    assert (found.errors, found.speech) == pytest.approx((3.0, 7.0))
    found = diarisation_errors(reference, [("x", 0.0, 8.0)], collar_sec=0.25)
    assert (found.miss, found.confusion, found.speech) == pytest.approx((0.5, 2.5, 2.5 + 2 * 0.5 + 3.5))
    assert diarisation_errors(reference, reference).errors == 0
    assert diarisation_errors([], [("x", 1.0, 3.0)]).false_alarm == 2
    assert diarisation_errors(reference, []).miss == 9
    assert diarisation_errors([], []).speech == 0


def test_each_of_two_turns_that_touch_has_its_collars():
    found = diarisation_errors([("a", 0, 2), ("a", 2, 4)], [("x", 0, 3)], 0.25)
    assert found.speech == pytest.approx(3.0) and found.miss == pytest.approx(0.75)


def test_turns_of_one_speaker_are_joined():
    assert merged([("a", 2.0, 3.0), ("a", 0.0, 1.0), ("a", 0.5, 2.0), ("b", 5.0, 6.0)]) == [("a", 0.0, 3.0), ("b", 5.0, 6.0)]
    assert diarisation_errors([("a", 0.0, 2.0), ("a", 1.0, 3.0)], [("x", 0.0, 3.0)]).errors == 0


def test_frames_are_scored_as_time_is():
    rng = np.random.default_rng(5)
    reference, hypothesis = random_turns(rng, 2, 5), random_turns(rng, 3, 5)
    times = (np.arange(2000) + 0.5) / 100

    def frames(turns):
        return np.stack([np.any([(s < times) & (times < e) for n, s, e in turns if n == name], 0)
                         for name in sorted({turn[0] for turn in turns})], 1)

    by_frame, by_time = frame_errors(frames(reference), frames(hypothesis)), diarisation_errors(reference, hypothesis)
    for name in ("miss", "false_alarm", "confusion", "speech"):
        assert getattr(by_frame, name) / 100 == pytest.approx(getattr(by_time, name), abs=1e-6)


def test_rttm_is_read_as_written(tmp_path):
    turns = {"rec2": [("bob", 0.25, 1.5), ("ann", 0.0, 0.75)], "rec1": [("ann", 1.0, 2.0)]}
    write_rttm(tmp_path / "rttm", turns)
    text = (tmp_path / "rttm").read_text()
    assert text.splitlines()[1] == "SPEAKER rec2 1 0.0000 0.7500 <NA> <NA> ann <NA> <NA>"
    (tmp_path / "rttm").write_text("SPKR-INFO rec1 1 <NA> <NA> <NA> unknown ann <NA> <NA>\n" + text)
    table = read_rttm(tmp_path / "rttm")
    assert list(table) == ["rec1", "rec2"] and table["rec2"] == "ann 0.0000 0.7500 bob 0.2500 1.5000"
    assert read_turns(table["rec2"]) == [("ann", 0.0, 0.75), ("bob", 0.25, 1.5)] and read_turns("") == []
    assert format_turns(read_turns(table["rec1"])) == table["rec1"]


@pytest.mark.parametrize("line", ["SPEAKER rec 1 0.5 -1 <NA> <NA> ann <NA> <NA>", "SPEAKER rec 1 x 1 <NA> <NA> ann",
                                  "SPEAKER rec 1 0.5", "SPEAKER rec 1 nan 1 <NA> <NA> ann <NA> <NA>",
                                  "SPEAKER rec 1 0.5 inf <NA> <NA> ann <NA> <NA>"])
def test_bad_rttm_is_refused(tmp_path, line):
    (tmp_path / "rttm").write_text(line + "\n")
    with pytest.raises(SpeechrepError, match="rttm:1: .*: 'SPEAKER rec"):
        read_rttm(tmp_path / "rttm")
    with pytest.raises(SpeechrepError, match="rttm:1: .*: 'SPEAKER rec"):
        read_list(tmp_path / "rttm")
    with pytest.raises(SpeechrepError, match="start before end"):
        read_turns("ann 2.0 1.0")
