"""Accuracy and F1 of slot types against scikit-learn, errors of slot values against jiwer, on random cases."""

import jiwer
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from speechrep.errors import SpeechrepError
from speechrep.metrics.accuracy import frame_hits, hits
from speechrep.metrics.slots import type_f1, value_edits

TYPES = ["time", "room", "city"]


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    true, said = rng.integers(4, size=(2, 60)).astype(str)
    utts = [f"u{number}" for number in range(60)]
    found = hits(dict(zip(utts, true)), dict(zip(reversed(utts), reversed(said))))
    assert np.mean(list(found.values())) == accuracy_score(true, said)
    frames = frame_hits({"u": " ".join(true)}, {"u": " ".join(said)})["u"]
    assert frames[0].tolist() == true.tolist() and frames[1].mean() == accuracy_score(true, said)
    with pytest.raises(SpeechrepError, match="without a class"):
        hits({"u": " "}, {"u": "a"})
    with pytest.raises(SpeechrepError, match="2 frames against 3"):
        frame_hits({"u": "a b c"}, {"u": "a b"})


@pytest.mark.parametrize("seed", range(5))
def test_slots_are_scikit_learns_and_jiwers(seed):
    rng = np.random.default_rng(seed)

    def draw():
        return [(TYPES[rng.integers(3)], " ".join("".join(rng.choice(list("abc"), rng.integers(1, 5)))
                                                  for _ in range(rng.integers(1, 3)))) for _ in range(rng.integers(4))]

    for _ in range(40):
        reference, hypothesis = draw(), draw()
        sets = MultiLabelBinarizer(classes=TYPES).fit_transform([{name for name, _ in side} for side in (reference, hypothesis)])
        assert type_f1(reference, hypothesis) == pytest.approx(
            f1_score(sets[:1], sets[1:], average="samples", zero_division=1.0))
        least = 0
        for name, value in reference:
            choices = [said for other, said in hypothesis if other == name] or [""]
            counts = [jiwer.process_characters(value, said) for said in choices]
            least += min(count.substitutions + count.deletions + count.insertions for count in counts)
        assert value_edits(reference, hypothesis).errors == least
