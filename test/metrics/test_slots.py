"""Slot types and values: hand-worked cases, and rules that s3prl's regular expression has too."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechrep.errors import SpeechrepError
from speechrep.metrics.slots import slot_scores, slots_of, type_f1, value_edits
from speechrep.metrics.wer import Edits


def test_slots_of_a_line():
    assert slots_of("at B-time half past E-time in B-room here E-room") == [("time", "half past"), ("room", "here")]
    assert slots_of("B-time x E-time B-time y E-time") == [("time", "x"), ("time", "y")]
    for line in ("no slot", "", "B-a E-a", "E-a x B-a", "B-a x"):
        assert slots_of(line) == []
    assert slots_of("B-a x B-b y E-b z E-a") == [("a", "x y z")], "tokens within a value are not read out"
    assert slots_of("B-a B-b x E-b") == [("b", "x")], "without its end it is nothing"
    assert slots_of("B-time x E-timer") == [], "the end of another type"
    assert slots_of("B-x 7:30; sharp E-x") == [("x", "7:30; sharp")]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from("B-a E-a B-b E-b x y z".split()), max_size=9))
def test_slots_are_those_of_the_reference_expression(tokens):
    """The pattern that SUPERB's scorer looks for, where slots do not overlap."""
    line = " ".join(tokens)
    peer = [(name, value) for name, value in re.findall(r"B-(\S+) (.+?) E-\1(?!\S)", line)]
    if not any(token in value for _, value in peer for token in ("B-", "E-")):
        assert slots_of(line) == peer


def test_hand_worked_f1():
    true = slots_of("B-a x E-a B-b y E-b B-a z E-a")
    assert type_f1(true, true) == 1 and type_f1([], []) == 1 and type_f1(true, []) == type_f1([], true) == 0
    # Types a, b against a, c, d: 1 of 3 said and 1 of 2 true: 2 * 1/3 * 1/2 / (1/3 + 1/2) = 0.4.
    assert type_f1(true, [("a", "x"), ("c", "x"), ("d", "x")]) == pytest.approx(0.4)
    assert type_f1([("a", "x")], [("b", "x")]) == 0


def test_hand_worked_value_errors():
    # "seven" against "eleven": s -> l and e in front, 2 of 5; "ten" against the nearer "tin", 1 of 3.
    assert value_edits([("t", "seven")], [("t", "eleven")]) == Edits(1, 0, 1, 5)
    assert value_edits([("t", "ten")], [("t", "hundred"), ("t", "tin")]) == Edits(1, 0, 0, 3)
    # A missing slot costs all its characters, the space too; one of another type is no help.
    assert value_edits([("t", "at ten")], [("u", "at ten")]) == Edits(0, 6, 0, 6)
    # One value serves two references; what is not in the reference costs nothing.
    assert value_edits([("t", "a"), ("t", "a")], [("t", "a")]) == Edits(0, 0, 0, 2)
    assert value_edits([], [("t", "a")]) == Edits(0, 0, 0, 0)
    assert value_edits([("t", "7:30; x")], [("t", "7:30; x")]).errors == 0


def test_scores_by_utterance():
    found = slot_scores({"u": "go B-a x E-a", "v": "go"}, {"u": "go B-a y E-a B-b y E-b", "v": "went"})
    assert found == {"u": (pytest.approx(2 / 3), Edits(1, 0, 0, 1)), "v": (1.0, Edits(0, 0, 0, 0))}
    with pytest.raises(SpeechrepError, match="without a hypothesis"):
        slot_scores({"u": "x"}, {})
    with pytest.raises(SpeechrepError, match="without a reference"):
        slot_scores({}, {"u": "x"})
