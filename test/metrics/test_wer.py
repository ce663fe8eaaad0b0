import random

import pytest

from speechrep.errors import SpeechrepError
from speechrep.metrics.wer import Edits, characters, corpus_edits, edits, error_rate, phones


def test_hand_worked_edits():
    # a -> x, c deleted, g inserted; any other alignment costs more
    assert edits("abcdef", "xbdefg") == Edits(1, 1, 1, 6)
    assert edits("kitten", "sitting") == Edits(2, 0, 1, 6)
    assert edits([], ["x", "y"]) == Edits(0, 0, 2, 0)
    assert edits(["x", "y"], []) == Edits(0, 2, 0, 2)
    assert edits([], []) == Edits(0, 0, 0, 0)


def test_agrees_with_jiwer():
    jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed")
    rng = random.Random(0)
    lines = [" ".join(rng.choices("ab cd ef gh".split(), k=rng.randint(1, 12))) for _ in range(200)]
    references = {f"u{i:03d}": line for i, line in enumerate(lines[:100])}
    hypotheses = {f"u{i:03d}": line for i, line in enumerate(lines[100:])}
    counts = corpus_edits(references, hypotheses)
    peer = jiwer.process_words(lines[:100], lines[100:])
    assert sum(c.errors for c in counts.values()) == peer.substitutions + peer.deletions + peer.insertions
    assert error_rate(counts) == pytest.approx(peer.wer, abs=1e-12)
    for count, reference in zip(counts.values(), lines):
        assert count.reference == len(reference.split())


def test_characters_without_spaces_agree_with_jiwer():
    jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed")
    rng = random.Random(1)
    lines = ["".join(rng.choices("abc  ", k=rng.randint(3, 20))) + "a" for _ in range(100)]
    counts = corpus_edits(dict(enumerate(lines[:50])), dict(enumerate(lines[50:])), characters)
    bare = [line.replace(" ", "") for line in lines]
    assert error_rate(counts) == pytest.approx(jiwer.cer(bare[:50], bare[50:]), abs=1e-12)
    assert error_rate(counts) != pytest.approx(jiwer.cer(lines[:50], lines[50:]), abs=1e-3)


def test_sum_of_errors_over_sum_of_references():
    # one error in one word and none in three: 1/4, not the mean of 1 and 0
    assert error_rate(corpus_edits({"a": "x", "b": "p q r"}, {"a": "y", "b": "p q r"})) == 0.25


def test_a_missing_and_an_extra_id_are_refused():
    with pytest.raises(SpeechrepError, match="without a hypothesis, such as 'b'"):
        corpus_edits({"a": "x", "b": "y"}, {"a": "x"})
    with pytest.raises(SpeechrepError, match="without a reference, such as 'c'"):
        corpus_edits({"a": "x"}, {"a": "x", "c": "y"})
    with pytest.raises(SpeechrepError, match="no symbol"):
        error_rate(corpus_edits({"a": ""}, {"a": "x"}))


def test_symbols():
    assert characters("ab c") == ["a", "b", "c"]
    assert phones("DH AH0 | K AE1 T SIL") == ["DH", "AH0", "K", "AE1", "T"]
    assert phones("zh_zh zh_ong1 | 1", tones=False) == ["zh_zh", "zh_ong", "1"]
