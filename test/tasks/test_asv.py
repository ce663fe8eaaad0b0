"""Verification: from training to score.json, on chords."""

import json
import shutil

import numpy as np
import pytest
import torch
from speaker_corpus import MODELS, as_in_the_suite, decoded, made_of, make_speakers, run, scored, task_of, trained
from toy_corpus import FEATURES, folder

from speechrep.data.dataset import collate
from speechrep.data.dump import dump
from speechrep.data.folder import read_table, write_table
from speechrep.data.trials import make_trials, read_trials
from speechrep.errors import SpeechrepError
from speechrep.report.methods import collect_methods
from speechrep.report.methods_table import methods_markdown
from speechrep.report.results import number
from speechrep.tasks import asv
from speechrep.tasks.base import load_task
from speechrep.tasks.predict import predict, score_predictions
from speechrep.tasks.suite import find_jobs


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_speakers(tmp_path_factory.mktemp("speakers"))


@pytest.fixture(scope="module")
def cohort(root):
    """The training part as of four other speakers."""
    train = folder(root, "train")
    return train.subset(train.utts, root / "data/others", {"utt2spk": {
        utt: f"{name}-{i // 2 % 2}" for i, (utt, name) in enumerate(train.read("utt2spk").items())}}).path


@pytest.mark.parametrize("head", ["xvector", "ecapa"])
def test_verification(root, cohort, head, tmp_path):
    exp = trained(root, "asv", more=("--set", f"model.head={head}"), tag=head)
    dump(cohort, root / "dump/logmel/others", FEATURES, cmvn=True)
    out = decoded(root, "asv", exp, more=("--cohort", cohort))
    score = scored(out)
    values = {name: entry["value"] for name, entry in score["metrics"].items()}
    assert set(values) == {f"{name}{kind}" for name in ("eer", "min_dcf_0.01", "min_dcf_0.001")
                           for kind in ("", "_asnorm")}
    assert values["eer"] < 30 and values["min_dcf_0.01"] <= 1
    table = methods_markdown(collect_methods(as_in_the_suite(tmp_path, out / "score.json")))
    assert "| asv eer (%) ↓ | asv min dcf 0.01 ↓ | asv eer asnorm (%) ↓ |" in table
    for name in ("eer", "min_dcf_0.01", "eer_asnorm"):
        assert f"| {number(values[name])} [" in table
    assert ("\n- asv eer asnorm (%): scores normalised by the 4 speakers of the cohort, less the trial's own (AS-norm).\n"
            in table)
    assert score["provenance"]["data"] == {"test": {"utterances": 12, "scored": len(read_trials(root / "data/test/trials"))}}
    trials = read_trials(root / "data/test/trials")
    assert score["metrics"]["eer"]["n"] == len(trials) and score["notes"] == [
        f"{len(trials)} trials, {sum(target for _, _, target in trials)} of them targets"]
    dev = json.loads((exp / "done.json").read_text())["dev"]
    assert 0 <= dev["eer"] < 0.3
    vectors = {utt: np.array(line.strip("[] ").split(), float) for utt, line in read_table(out / "embedding").items()}
    assert len(vectors) == 12 and all(np.linalg.norm(v) == pytest.approx(1, abs=1e-4) for v in vectors.values())
    assert len(read_table(out / "cohort")) == 4
    before = (out / "score.json").read_bytes()
    decoded(root, "asv", exp, more=("--cohort", cohort))
    assert (out / "score.json").read_bytes() == before
    # Of a cohort of the very speakers of the trials nobody is left.
    score = scored(decoded(root, "asv", exp, more=("--cohort", root / "data/train")))
    assert "eer_asnorm" not in score["metrics"] and "a cohort of 0, wanted two or more" in score["notes"][1]
    decoded(root, "asv", exp)
    assert not (out / "cohort").exists() and not (out / "score.json").exists()


def test_verification_of_a_speaker_whom_only_the_test_has(root, tmp_path):
    """Training, dev and cohort hear one speaker each less; the trials' other side is verified like any."""
    train = folder(root, "train")
    for part in ("train", "dev"):
        data = folder(root, part)
        names = {utt: name if name == "spk1" else f"spk0-{i // 2 % 3}" for i, (utt, name) in
                 enumerate(data.read("utt2spk").items())}
        data.subset(data.utts, tmp_path / "data" / part, {"utt2spk": names})
    shutil.copytree(folder(root, "test").path, tmp_path / "data/test")
    run("train", "--conf", root / "asv.yaml", "--upstream", "logmel", "--train", tmp_path / "data/train", "--dev",
        tmp_path / "data/dev", "--dump", root / "dump", "--exp", tmp_path / "exp", "--device", "cpu",
        "--set", "model.held_out=[spk1]")
    run("decode", "asv", "--checkpoint", tmp_path / "exp/best.pt", "--data", tmp_path / "data/test", "--dump", root / "dump",
        "--cohort", tmp_path / "data/train", "--out", tmp_path / "out")
    assert set(read_table(tmp_path / "out/cohort")) == {f"spk0-{i}" for i in range(3)}
    score = scored(tmp_path / "out")
    owners, rows = folder(root, "test").read("utt2spk"), (tmp_path / "out/per_utt.tsv").read_text().splitlines()[1:]
    unknown = [row for row in rows if {owners[utt] for utt in row.split("\t")[0].split()} == {"spk1"}]
    assert len(unknown) > 2 and score["metrics"]["eer"]["value"] < 50 and "eer_asnorm" in score["metrics"]
    assert len(train.utts) == 40


def test_utterances_of_whom_nothing_is_said(root, tmp_path):
    """In training and dev they are left out; a trial of the test names them all the same."""
    for part in ("train", "dev", "test"):
        data = folder(root, part)
        first = data.utts[0]
        shutil.copytree(data.path, tmp_path / "data" / part)
        for stream in ("utt2spk", "utt2lang"):
            lines = dict(data.read(stream))
            if part == "train":
                lines[first] = " "
            else:
                del lines[first]
            write_table(tmp_path / "data" / part / stream, lines)
    (job,), _ = find_jobs(tmp_path / "data", [root], "asv")
    run("train", "--conf", root / "asv.yaml", "--upstream", "logmel", "--train", tmp_path / "data/train", "--dev",
        tmp_path / "data/dev", "--dump", root / "dump", "--exp", tmp_path / "exp", "--device", "cpu")
    assert job.task == "asv" and load_task(tmp_path / "exp/best.pt").labels == ("spk0", "spk1")
    run("decode", "asv", "--checkpoint", tmp_path / "exp/best.pt", "--data", tmp_path / "data/test", "--dump", root / "dump",
        "--out", tmp_path / "out")
    assert len(read_table(tmp_path / "out/embedding")) == 12


def test_kaldiio_reads_the_embeddings(root):
    import kaldiio
    out = decoded(root, "asv", trained(root, "asv", more=("--set", "model.head=xvector"), tag="xvector"))
    lines = read_table(out / "embedding")
    found = dict(kaldiio.load_ark(str(out / "embedding")))
    assert set(found) == set(lines) and all(vector.shape == (16,) for vector in found.values())


def test_verification_by_hand(tmp_path):
    """Of two targets one is below a non-target: between them half of the targets are missed or half of the others pass."""
    files = {"embedding": ["a [ 1 0 ]", "b [ 0.8 0.6 ]", "c [ 0 1 ]", "d [ 0.6 0.8 ]"],
             "trials": ["a b target", "c a target", "d a nontarget", "d b nontarget"]}
    made = made_of(tmp_path / "x", "asv", files)
    found = score_predictions(made, "test", "x", 0, made)["metrics"]
    # Cosines 0.8 and 0 against 0.6 and 0.96.
    assert found["eer"]["value"] == pytest.approx(50)
    assert found["min_dcf_0.01"]["value"] == 1.0
    (made / "cohort").write_text("x [ 1 0 ]\ny [ 0 1 ]\nz [ -1 0 ]\n")
    per_utt = score_predictions(made, "test", "x", 0, made)
    assert "eer_asnorm" in per_utt["metrics"]
    rows = [line.split("\t") for line in (made / "per_utt.tsv").read_text().splitlines()]
    assert rows[0] == ["utt", "target", "score", "score_asnorm"]
    sides = [np.array([1, 0, -1.0]), np.array([0.8, 0.6, -0.8])]
    expected = np.mean([(0.8 - side.mean()) / side.std() for side in sides])
    assert rows[1][0] == "a b" and float(rows[1][3]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("trials, why", [
    (["a b target", "a z nontarget"], "unknown utterance 'z'"), (["a b target", "a b target"], "twice in the list"),
    (["a b target", "a c yes"], "a c yes"),
    (["a b target", "b a nontarget"], "b and a are target and nontarget"),
    (["a b target", "a c target"], "2 targets of 2 trials"), ([], "0 targets of 0")])
def test_bad_trials_are_refused(tmp_path, trials, why):
    made = made_of(tmp_path / "x", "asv", {"embedding": ["a [ 1 0 ]", "b [ 0.8 0.6 ]", "c [ 0 1 ]"], "trials": trials})
    with pytest.raises(SpeechrepError, match=why):
        score_predictions(made, "test", "x", 0, made)


def test_a_trial_with_an_unknown_utterance_is_refused_when_decoding(root, tmp_path):
    task, _ = task_of(root, asv, **MODELS["asv"])
    test = folder(root, "test")
    other = test.subset(test.utts, tmp_path / "test")
    (tmp_path / "test/trials").unlink()
    with pytest.raises(SpeechrepError, match="trials: no such file"):
        predict(task, other, root / "dump", tmp_path / "out")
    (tmp_path / "test/trials").write_text(f"{test.utts[0]} nobody target\n")
    with pytest.raises(SpeechrepError, match="unknown utterance 'nobody'"):
        predict(task, other, root / "dump", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_dev_pairs_stay_within_a_language_and_need_both_kinds(root):
    task, train = task_of(root, asv, **MODELS["asv"])
    along, across = [1.0, 0.0], [0.0, 1.0]
    heard = [("a", "s", "en", along), ("b", "s", "en", along), ("c", "t", "en", across), ("d", "u", "fr", along)]
    # Paired with the others, d would be like two speakers whom it is not.
    assert task.dev_values({}, [heard[:2], heard[2:]])["eer"] == 0
    together = [(*row[:2], "en", row[3]) for row in heard]
    assert task.dev_values({}, [together])["eer"] > 0
    with pytest.raises(SpeechrepError, match="1 of 1 pairs"):
        task.dev_values({}, [heard[:2]])
    batch = collate([train[i] for i in range(4)])
    batch["labels"]["utt2spk"][1:3] = ["stranger", "another"]
    batch = task.prepare(batch, torch.Generator())
    assert task.counts(batch) == {"am_softmax": 2.0} and torch.isfinite(task(batch)["am_softmax"])
    task.metrics(batch)
    assert len(task.dev_share()) == 4 and task.dev_share() == []


def test_crops_are_of_training_only_and_its_own_draw(root):
    task, train = task_of(root, asv, **MODELS["asv"])
    batch = collate([train[i] for i in range(6)])
    assert "starts" not in task.prepare(batch, torch.Generator())
    task.train()
    first, again = (task.prepare(batch, torch.Generator())["starts"] for _ in range(2))
    assert torch.equal(first, again) and task.crop_frames == 50 and first.max() > 0
    losses = float(task(task.prepare(batch, torch.Generator()))["am_softmax"].detach())
    parts = [task.prepare(collate([train[i] for i in some]), torch.Generator()) for some in (range(2), range(2, 6))]
    assert losses == pytest.approx(sum(float(task(part)["am_softmax"].detach()) for part in parts), rel=1e-4)


def test_speakers_held_out_are_heard_in_the_test_only(root):
    data = folder(root, "train")
    config = asv.Config(held_out=("spk1", "nobody"), cohort_each=3)
    speakers = data.read("utt2spk")
    for part, count in (("train", 20), ("dev", 20), ("cohort", 3)):
        chosen = asv.Task.chosen_utts(config, data, part)
        assert len(chosen) == count and {speakers[utt] for utt in chosen} == {"spk0"}
    assert asv.Task.chosen_utts(config, data, "test") is None
    assert len(asv.Task.chosen_utts(asv.Config(cohort_each=3), data, "cohort")) == 6


def test_trials_are_of_one_language_and_other_words():
    rng = np.random.default_rng(0)
    utts = {f"{speaker}-{i}": speaker for speaker in ("en1", "en2", "en3", "fr1", "fr2", "de1") for i in range(8)}
    langs = {utt: speaker[:2] for utt, speaker in utts.items()}
    said = {utt: str(rng.integers(3)) if utt.startswith("fr") else utt[-1] for utt in utts}
    trials = make_trials(utts, langs, 2, said)
    assert trials == make_trials(dict(reversed(utts.items())), langs, 2, said)
    assert all(langs[a] == langs[b] and said[a] != said[b] and (utts[a] == utts[b]) == target for a, b, target in trials)
    assert {langs[a] for a, _, _ in trials} == {"en", "fr"}, "a language with one speaker has no trials"
    pairs = [frozenset(trial[:2]) for trial in trials]
    assert len(pairs) == len(set(pairs))
    enrolled = [a for a, _, target in trials if target]
    assert all(enrolled.count(utt) == 2 for utt in utts if utt.startswith("en") and utt[-1] in "012")
    with pytest.raises(SpeechrepError, match="without any trial"):
        make_trials({"a": "x", "b": "x"}, {"a": "en", "b": "en"})
    with pytest.raises(SpeechrepError, match="without a target"):
        make_trials({"a": "x", "b": "y"}, {"a": "en", "b": "en"})
