"""Predictions of folds that are joined: what stands beside their score."""

import json

import pytest

from speechrep.config import write_yaml
from speechrep.data.folder import write_table
from speechrep.errors import SpeechrepError
from speechrep.metrics.score import read_score
from speechrep.tasks.folds import join_folds
from speechrep.tasks.predict import learning_rates, score_predictions

FOLDS = {1: (1e-3, 0, 1), 2: (1e-4, 2, 4), 3: (1e-3, 1, 3)}
"""Number -> learning rate, utterances without an emotion, utterances."""


@pytest.fixture
def folds(tmp_path):
    """The predictions of three folds, each beside its run, as `speechrep suite --sweep` leaves them."""
    folders = []
    for fold, (rate, unlabelled, of) in FOLDS.items():
        folder = tmp_path / f"er/fold{fold}/emotion"
        folder.mkdir(parents=True)
        write_yaml(folder.parent / "config.yaml", {"task": "er", "train": {"lr": rate}})
        utts = [f"{fold}-{number}" for number in range(of - unlabelled)]
        for name, line in (("hyp", "calm"), ("ref", "calm"), ("fold", str(fold)), ("utt2session", f"s{fold}")):
            write_table(folder / name, dict.fromkeys(utts, line))
        made = {"task": "er", "config": {"fold": fold}, "upstream": "x", "settled": {}, "best": {}, "labels": []}
        (folder / "made.json").write_text(json.dumps(made | {"unlabelled": unlabelled, "of": of}))
        folders.append(folder)
    return folders


def test_each_fold_has_its_learning_rate_and_its_unlabelled_utterances(folds, tmp_path):
    """Folds may be swept each for itself; they differ in how many utterances have no label, too."""
    out = tmp_path / "er/emotion"
    join_folds(folds, out)
    score_predictions(out, "emotion", "x", 0, out)
    score = read_score(out / "score.json")
    assert score["provenance"]["config"]["lr"] == [1e-3, 1e-4, 1e-3]
    assert score["metrics"]["accuracy"]["n"] == 5
    assert score["notes"] == ["accuracy: the mean over 3 folds", "3 of 8 utterances have no label and are not scored"]
    alone = score_predictions(folds[0], "emotion", "x", 0, folds[0])
    assert alone["provenance"]["config"]["lr"] == [1e-3] and not [note for note in alone["notes"] if "no label" in note]
    assert learning_rates([tmp_path]) == []


def test_folds_of_other_configurations_are_refused(folds, tmp_path):
    made = json.loads((folds[1] / "made.json").read_text())
    (folds[1] / "made.json").write_text(json.dumps(made | {"upstream": "y"}))
    with pytest.raises(SpeechrepError, match="fold2/emotion: made by another task, configuration or upstream"):
        join_folds(folds, tmp_path / "er/emotion")
