"""Purity and PNMI against a case worked by hand and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from speechrep.metrics.purity import cluster_purity, contingency, phone_purity, pnmi, pnmi_within, speaker_share


def test_by_hand():
    # 8 frames: phone a 4 times with unit 0, phone b twice with 0 and twice with 1; unit 2 is never used.
    table = np.array([[4, 0, 0], [2, 2, 0]])
    assert phone_purity(table) == pytest.approx((4 + 2) / 8)
    assert cluster_purity(table) == pytest.approx((4 + 2) / 8)
    # H(phone) = ln 2. I = 1/2 ln((1/2)/(1/2 3/4)) + 1/4 ln((1/4)/(1/2 3/4)) + 1/4 ln((1/4)/(1/2 1/4)).
    information = 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3) + 0.25 * math.log(2)
    assert pnmi(table) == pytest.approx(information / math.log(2))


def test_bounds():
    assert pnmi(np.eye(5) * 7) == pytest.approx(1) and phone_purity(np.eye(5)) == cluster_purity(np.eye(5)) == 1
    assert pnmi(np.ones((4, 3))) == pytest.approx(0, abs=1e-12)
    assert pnmi(np.array([[3, 4]])) == 0
    # Splitting a unit at random leaves the phones' side as it is and lowers the clusters'.
    table = np.array([[6, 0], [0, 6]])
    split = np.array([[3, 3, 0, 0], [0, 0, 3, 3]])
    assert pnmi(split) == pytest.approx(pnmi(table)) and cluster_purity(split) == 0.5


def test_against_sklearn():
    rng = np.random.default_rng(0)
    phones = rng.integers(5, size=3000)
    units = np.where(rng.random(3000) < 0.5, phones * 2, rng.integers(12, size=3000))
    table = contingency(phones, units, 5, 12)
    assert table.sum() == 3000 and table[2, 4] == ((phones == 2) & (units == 4)).sum()
    share = np.bincount(phones) / 3000
    assert pnmi(table) == pytest.approx(mutual_info_score(phones, units) / -(share * np.log(share)).sum())


def test_within_languages():
    """Units that tell the language alone say nothing of the phones within one."""
    one, other = np.array([[4, 0], [4, 0]]), np.array([[0, 2], [0, 2], [0, 4]])
    whole = np.concatenate([one, other])
    assert pnmi(whole) > 0.4 and pnmi_within([one, other]) == pytest.approx(0)
    # All of the phone in 8 frames, nothing of it in 4.
    assert pnmi_within([np.array([[4, 0], [0, 4]]), np.array([[1, 1], [1, 1]])]) == pytest.approx(8 / 12)


def test_what_units_tell_of_speakers():
    rng = np.random.default_rng(0)
    phones = [rng.dirichlet(np.ones(50)) for _ in range(30)]
    same = [rng.multinomial(60, phone, size=(2, 4)) for phone in phones]
    assert -0.05 < speaker_share(same) < 0.01, "what speakers have by chance is nothing"
    apart = [np.stack([[rng.multinomial(600, np.roll(phone, 7 * speaker)) for speaker in range(4)] for _ in range(2)])
             for phone in phones]
    assert speaker_share(apart) > 0.06
    sure = np.zeros((2, 2, 2))
    sure[:, 0, 0] = sure[:, 1, 1] = 10_000
    assert speaker_share([sure]) > 0.99
    # Units that are the phones say nothing of the speaker.
    assert speaker_share([np.roll(np.eye(4)[:1], phone)[None].repeat(3, 1).repeat(2, 0) * 90 for phone in range(4)]) < 0.01


def test_what_units_tell_of_speakers_by_hand():
    # Speaker a says unit 0 three times in each half, speaker b unit 1 once; a third is heard in one half only.
    table = np.array([[[3, 0], [0, 1], [0, 0]], [[3, 0], [0, 1], [5, 5]]])
    # Half a frame of each unit goes to both distributions: a tenth of five frames' is that.
    phone, a, b = 0.8 * 0.75 + 0.1, 0.8 * (3 + 2 * 0.75) / 5 + 0.1, 0.8 * (1 + 2 * 0.25) / 3 + 0.1
    information = 2 * (3 * math.log(a / phone) + math.log(b / (1 - phone)))
    assert speaker_share([table]) == pytest.approx(information / -(6 * math.log(6 / 8) + 2 * math.log(2 / 8)))
    assert math.isnan(speaker_share([table[:, ::2], np.zeros((2, 0, 4))])) and math.isnan(speaker_share([]))
