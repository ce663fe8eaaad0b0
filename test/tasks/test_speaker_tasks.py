"""Emotion in folds and keywords, from training to score.json; what they have in common with verification and diarisation."""

import numpy as np
import pytest
import torch
from speaker_corpus import decoded, made_of, make_speakers, scored, trained
from toy_corpus import folder

from speechrep.data.folder import read_table, write_table
from speechrep.data.trials import write_trials
from speechrep.errors import SpeechrepError
from speechrep.tasks import er
from speechrep.tasks.folds import join_folds
from speechrep.tasks.predict import score_predictions
from speechrep.tasks.suite import find_jobs
from speechrep.tasks.train import train_task


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_speakers(tmp_path_factory.mktemp("speakers"))


def test_folds_leave_a_session_out(root):
    data = folder(root, "train")
    sessions = data.read("utt2session")
    for fold in (1, 4):
        parts = {part: er.Task.chosen_utts(er.Config(fold=fold), data, part) for part in ("train", "dev", "test")}
        assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 40
        names = {part: {sessions[utt] for utt in utts} for part, utts in parts.items()}
        assert names["test"] == {f"ses{fold - 1}"} and names["dev"] == {f"ses{fold % 4}"} and len(names["train"]) == 2
        habit = er.Config(fold=fold, reference_dev=True)
        train, dev, test = (er.Task.chosen_utts(habit, data, part) for part in ("train", "dev", "test"))
        assert test == parts["test"] and len(dev) == 6 and not dev & train and train | dev == parts["train"] | parts["dev"]
    with pytest.raises(SpeechrepError, match="4 sessions, fold 5"):
        er.Task.chosen_utts(er.Config(fold=5), data, "train")


def test_emotion_over_folds(root, tmp_path):
    outs = []
    for fold in (1, 2, 3, 4):
        exp = trained(root, "er", "train", "train", ("--set", f"model.fold={fold}"), f"{fold}")
        outs.append(decoded(root, "er", exp, "train"))
        assert len(read_table(outs[-1] / "hyp")) == 10 and set(read_table(outs[-1] / "fold").values()) == {str(fold)}
    alone = scored(outs[0])
    assert alone["notes"] == ["folds 1 only: 30 utterances are tested in none"]
    score = scored(tmp_path / "joined", *outs)
    own = [score["metrics"][f"accuracy_fold{fold}"]["value"] for fold in (1, 2, 3, 4)]
    assert score["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(own)) and min(own) > 60
    assert score["metrics"]["accuracy"]["n"] == 40 and score["notes"] == ["accuracy: the mean over 4 folds"]
    for some, why in ((outs[:3], "10 of 40 utterances are tested in no fold"),
                      ([*outs, outs[1]], "10 utterances that another fold tests")):
        with pytest.raises(SpeechrepError, match=why):
            join_folds(some, tmp_path / "bad")
    with pytest.raises(SpeechrepError, match="would be replaced"):
        join_folds(outs, outs[0].parent)
    assert not (tmp_path / "bad").exists()
    write_table(outs[0] / "fold", {})
    with pytest.raises(SpeechrepError, match="fold: 10 utterances"):
        score_predictions(outs[0], "test", "x", 0, outs[0])


def test_the_mean_over_folds_is_not_that_over_utterances(tmp_path):
    made = made_of(tmp_path / "x", "er", {
        "ref": ["a calm", "b cross", "c calm", "d calm"], "hyp": ["a calm", "b calm", "c cross", "d cross"],
        "fold": ["a 1", "b 2", "c 2", "d 2"], "utt2session": ["a s1", "b s2", "c s2", "d s2"]})
    found = score_predictions(made, "test", "x", 0, made)["metrics"]
    assert found["accuracy"]["value"] == 50 and found["accuracy_fold2"]["value"] == 0


def test_what_the_suite_finds(root, tmp_path):
    """Folders, folds and options of each task, and why one cannot be run."""
    jobs = {job.name: job for job in find_jobs(root / "data", [root], "asv,sd")[0]}
    assert [path.name for path in jobs["sd"].parts] == ["mix_train", "mix_dev", "mix_test"]
    assert jobs["asv"].options == ("--cohort", str(root / "data/train"))
    train = folder(root, "train")
    for name in ("emotion", "keyword_train", "keyword_dev", "keyword_test"):
        train.subset(train.utts, tmp_path / name)
    jobs = {job.name: job for job in find_jobs(tmp_path, [root], "er,ks")[0]}
    assert {path.name for path in jobs["er"].parts} == {"emotion"} and jobs["ks"].parts[2].name == "keyword_test"
    assert jobs["er"].folds == tuple(f"model.fold={fold}" for fold in (1, 2, 3, 4))
    alone = train.subset(train.utts[:20], tmp_path / "emotion")
    alone.write("utt2session", {utt: f"s{number % 2}" for number, utt in enumerate(alone.utts)})
    alone.write("emotion", {utt: f"e{number // 2 % 2}" for number, utt in enumerate(alone.utts)})
    with pytest.raises(SpeechrepError, match="er: 2 sessions"):
        find_jobs(tmp_path, [root], "er")
    for part in ("train", "dev", "test"):
        data = folder(root, part)
        own = [utt for utt in data.utts if part == "train" or data.read("utt2spk")[utt] == "spk0"]
        data.subset(own, tmp_path / part)
    write_trials(tmp_path / "test/trials", [])
    with pytest.raises(SpeechrepError, match="dev has no pairs of utterances of one speaker and of two"):
        find_jobs(tmp_path, [root], "asv")


def test_keywords(root):
    exp = trained(root, "ks")
    score = scored(decoded(root, "ks", exp))
    assert score["task"] == "ks" and score["metrics"]["accuracy"]["n"] == 12


@pytest.mark.parametrize("task, train, dev", [("sd", "mix_train", "mix_dev"), ("asv", "train", "dev"),
                                              ("er", "train", "train")])
def test_cached_layers_train_the_same_and_a_stopped_run_goes_on(root, tmp_path, task, train, dev, monkeypatch):
    """Killed behind its first checkpoint a run comes to the same weights and choices."""
    from speechrep.train import loop
    arguments = (root / f"{task}.yaml", "logmel", root / f"data/{train}", root / f"data/{dev}", root / "dump")
    # A mean over the frames of a batch and one of an utterance differ in the last bit.
    options = {"device": "cpu", "overrides": ["train.steps=8", "train.dev_every=4", "train.save_every=3"],
               "cache": tmp_path / "layers"} if task == "er" else {
        "device": "cpu", "overrides": ["train.steps=8", "train.dev_every=4", "train.save_every=3"]}
    train_task(*arguments, tmp_path / "whole", **options | {"cache": tmp_path / "layers"})
    save = loop._Run.save

    def stop(self, loader):
        save(self, loader)
        if self.step == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        train_task(*arguments, tmp_path / "stopped", **options)
    monkeypatch.setattr(loop._Run, "save", save)
    train_task(*arguments, tmp_path / "stopped", **options)
    for name in ("best.pt", "last.pt"):
        whole, stopped = (torch.load(tmp_path / run / name, weights_only=True) for run in ("whole", "stopped"))
        assert whole["dev"] == stopped["dev"] and whole["settled"] == stopped["settled"]
        for key, value in whole["model"].items():
            assert torch.equal(value, stopped["model"][key]), key
