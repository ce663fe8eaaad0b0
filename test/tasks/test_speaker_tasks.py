"""Verification, diarisation, emotion in folds and keywords: from training to score.json, on chords."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from toy_corpus import FEATURES, folder, make_corpus

from speechrep.bin import main
from speechrep.data.audio import AudioReader, write_wav
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.data.dump import dump
from speechrep.data.folder import DataFolder, read_table, write_folder, write_table
from speechrep.data.rttm import read_turns, write_rttm
from speechrep.data.trials import make_trials, read_trials, write_trials
from speechrep.errors import SpeechrepError
from speechrep.metrics.score import read_score
from speechrep.report.methods import collect_methods, methods_markdown
from speechrep.report.results import number
from speechrep.tasks import asv, er, sd
from speechrep.tasks.base import load_task
from speechrep.tasks.folds import join_folds
from speechrep.tasks.predict import predict, score_predictions
from speechrep.tasks.suite import find_jobs
from speechrep.tasks.train import train_task
from speechrep.upstream import Upstream

TRAIN = {"steps": 40, "batch_sec": 15, "lr": 0.01, "warmup": 5, "dev_every": 20, "save_every": 40, "precision": "fp32"}
MODELS = {"asv": {"dim": 16, "last_dim": 32, "embedding_dim": 16, "crop_sec": 0.5},
          "sd": {"dim": 24, "chunk_frames": 120, "medians": [1, 11]}, "er": {}, "ks": {}}
LOSSES = {"asv": "am_softmax", "sd": "pit_bce", "er": "cross_entropy", "ks": "cross_entropy"}


def mixtures(root, part):
    """Each utterance of spk0 with one of spk1 that begins in its midst, as data/mix_PART."""
    data = folder(root, part)
    reader, speakers = AudioReader(data), data.read("utt2spk")
    own = [[utt for utt in data.utts if speakers[utt] == name] for name in ("spk0", "spk1")]
    tables, turns = {"wav.scp": {}, "utt2spk": {}}, {}
    for number, (first, second) in enumerate(zip(*own)):
        low, high = (reader.read(utt)[0] for utt in (first, second))
        start = len(low) // 2
        mixed = np.zeros(max(len(low), start + len(high)), np.float32)
        mixed[:len(low)] += low
        mixed[start:start + len(high)] += high
        name = f"mix{number:03d}"
        write_wav(root / "mixed" / part / f"{name}.wav", mixed, 8000)
        tables["wav.scp"][name] = str(root / "mixed" / part / f"{name}.wav")
        tables["utt2spk"][name] = name
        turns[name] = [("spk0", 0.0, len(low) / 8000), ("spk1", start / 8000, (start + len(high)) / 8000)]
    write_folder(root / f"data/mix_{part}", tables)
    write_rttm(root / f"data/mix_{part}/rttm", turns)
    dump(root / f"data/mix_{part}", root / f"dump/logmel/mix_{part}", FEATURES, cmvn=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    torch.set_num_threads(1)
    root = make_corpus(tmp_path_factory.mktemp("speakers"), {"train": 40, "dev": 10, "test": 12})
    for part in ("train", "dev", "test"):
        data = folder(root, part)
        speakers = data.read("utt2spk")
        data.write("emotion", {utt: {"spk0": "calm", "spk1": "cross"}[speakers[utt]] for utt in data.utts})
        data.write("keyword", {utt: data.read("text")[utt][0] for utt in data.utts})
        data.write("utt2session", {utt: f"ses{number // 2 % 4}" for number, utt in enumerate(data.utts)})
        mixtures(root, part)
    write_trials(root / "data/test/trials", make_trials(folder(root, "test").read("utt2spk"),
                                                        folder(root, "test").read("utt2lang")))
    for task, model in MODELS.items():
        conf = {"task": task, "weights": {LOSSES[task]: 1.0}, "model": model, "train": TRAIN}
        (root / f"{task}.yaml").write_text(yaml.safe_dump(conf))
    return root


def run(*arguments):
    assert main([str(value) for value in arguments]) in (0, None)


def trained(root, task, train="train", dev="dev", more=(), tag=""):
    exp = root / "exp" / f"{task}{tag}"
    run("train", "--conf", root / f"{task}.yaml", "--upstream", "logmel", "--train", root / f"data/{train}", "--dev",
        root / f"data/{dev}", "--dump", root / "dump", "--exp", exp, "--device", "cpu", *more)
    return exp


def decoded(root, task, exp, test="test", more=()):
    run("decode", task, "--checkpoint", exp / "best.pt", "--data", root / f"data/{test}", "--dump", root / "dump",
        "--out", exp / "test", *more)
    return exp / "test"


def scored(out, *folders):
    run("score", "predictions", *(folders or [out]), "--part", "test", "--system", "logmel", "--out", out)
    return read_score(out / "score.json")


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


def made_of(tmp_path, task, files, config=None):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "made.json").write_text(json.dumps({"task": task, "config": config or {}, "upstream": "x", "labels": [],
                                                    "settled": {}}))
    for name, content in files.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in content))
    return tmp_path


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


def task_of(root, module, train="train", **values):
    config = module.Config(**values)
    inventory = take_inventory(DataFolder(root / f"data/{train}"), root / f"dump/logmel/{train}")
    data = SpeechDataset(DataFolder(root / f"data/{train}"), root / f"dump/logmel/{train}", inventory,
                         ("feats", *module.Task.needs_of(config)))
    torch.manual_seed(0)
    return module.Task(config, Upstream.open("logmel", inventory), module.Task.labels_of(config, data)).eval(), data


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


def as_in_the_suite(tmp_path, score):
    """EXP with one score of one system."""
    place = tmp_path / "exp/tasks/logmel-0/TASK/test".replace("TASK", read_score(score)["task"])
    place.mkdir(parents=True)
    shutil.copy(score, place)
    return tmp_path / "exp"


def test_diarisation(root, tmp_path):
    exp = trained(root, "sd", "mix_train", "mix_dev")
    task = load_task(exp / "best.pt")
    dev = torch.load(exp / "best.pt", weights_only=True)["dev"]
    assert task.settled["threshold"] in task.config.thresholds and task.settled["median"] in (1, 11)
    assert dev["der"] == min(value for name, value in dev.items() if name.startswith("der_"))
    out = decoded(root, "sd", exp, "mix_test")
    score = scored(out)
    values = {name: entry["value"] for name, entry in score["metrics"].items()}
    assert values["der"] == pytest.approx(values["miss"] + values["false_alarm"] + values["confusion"])
    assert 0 < values["der"] < 35
    assert score["notes"][0].startswith("der: collar 0 s, overlap scored; der_collar: collar 0.25 s, overlap scored")
    table = methods_markdown(collect_methods(as_in_the_suite(tmp_path, out / "score.json")))
    assert "\n- sd der (%): collar 0 s, overlap scored.\n" in table
    assert len((out / "hyp.rttm").read_text().splitlines()) == sum(
        len(read_turns(line)) for line in read_table(out / "hyp").values())
    assert json.loads((out / "made.json").read_text())["settled"] == task.settled


def test_habits_of_the_reference_in_diarisation(root, tmp_path):
    """The best weights by frames; the operating point that test itself likes best, which no other beats."""
    task, data = task_of(root, sd, "mix_train", dim=8, best_by="frames", test_chooses=True, medians=[1, 11])
    assert task.selects == "frame_error" and sd.Task.selects_of(sd.Config()) == "der"
    batch = task.prepare(collate([data[i] for i in range(4)]), torch.Generator())
    with torch.no_grad():
        wrong, cells = task.metrics(batch)["frame_error"]
    assert cells == task.counts(batch)["pit_bce"] and 0 < wrong < cells
    reference = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    assert sd.wrong_frames(reference, reference[:, ::-1]) == 0 and sd.wrong_frames(reference, ~reference) == 4
    said = task.predict(batch)
    assert len(said) == 2 + 10 and said["hyp"] == said["hyp_0.5_1"]
    for name, lines in {"ref": ["a 0 4 b 3 8"], "hyp": [""], "hyp_0.3_1": ["a 0 8 b 0 8"], "hyp_0.5_11": ["a 0 4 b 4 8"],
                        "hyp_0.7_1": ["a 0 4"]}.items():
        write_table(tmp_path / name, dict(zip(["x"], lines)))
    score = sd.Task.score(tmp_path)
    assert score.metrics["der"]["value"] == pytest.approx(100 / 9) and "0.5_11" in score.notes[1]
    write_table(tmp_path / "hyp_0.4_1", {"y": ""})
    with pytest.raises(SpeechrepError, match="without a hypothesis"):
        sd.Task.score(tmp_path)


def test_a_long_recording_is_heard_in_chunks_of_one_order(root):
    """With weights that carry nothing from frame to frame, chunks give what the whole gives."""
    task, data = task_of(root, sd, "mix_train", dim=8, chunk_frames=40)
    with torch.no_grad():
        task.lstm.weight_hh_l0.zero_()
        task.lstm.bias_ih_l0[8:16] = -30.0
        task.lstm.bias_hh_l0[8:16] = -30.0
    batch = collate([data[i] for i in range(3)])
    chunked = task.probabilities(batch)
    x, lengths = task.features(batch)
    whole = task.logits(x).sigmoid()
    assert x.shape[1] > 100
    for row, length, found in zip(whole, lengths.tolist(), chunked):
        torch.testing.assert_close(found, row[:length], rtol=1e-4, atol=1e-5)


def test_without_overlap_chunks_stay_in_their_order(root):
    """The habit of the reference: each chunk as it comes."""
    task, data = task_of(root, sd, "mix_train", dim=8, chunk_frames=40, chunk_overlap=0.0)
    batch = collate([data[0]])
    x, lengths = task.features(batch)
    expected = torch.cat([task.logits(x[:, start:start + 40]).sigmoid()[0] for start in range(0, int(lengths[0]), 40)])
    torch.testing.assert_close(task.probabilities(batch)[0], expected)


def test_targets_of_windows_are_those_of_their_frames(root):
    task, data = task_of(root, sd, "mix_train", dim=8, chunk_frames=40)
    batch = collate([data[i] for i in range(3)])
    whole = task.prepare(batch, torch.Generator())
    first = read_turns(batch["labels"]["rttm"][0])
    assert whole["targets"][0, :, 0].sum() == pytest.approx((first[0][2] - first[0][1]) * 100, abs=1)
    assert task.counts(whole)["pit_bce"] == 2 * float(batch["feats_lengths"].sum())
    task.train()
    cut = task.prepare(batch, torch.Generator())
    for row, start in enumerate(cut["starts"].tolist()):
        assert torch.equal(cut["targets"][row], whole["targets"][row, start:start + 40])
    assert task.counts(cut)["pit_bce"] == 2 * 3 * 40


def test_smoothing_is_scipys_and_turns_are_frames():
    from scipy.signal import medfilt
    rng = np.random.default_rng(0)
    active = rng.random((60, 2)) > 0.5
    for width in (1, 3, 11):
        expected = np.stack([medfilt(column.astype(float), width) for column in active.T], 1)
        assert np.array_equal(sd.smooth(active, width), expected > 0)
    turns = sd.turns_of(active, ("a", "b"), 0.02)
    assert np.array_equal(sd.activity(turns, ["a", "b"], 60, 0.02, 2) > 0, active)
    assert sd.turns_of(np.zeros((5, 2), bool), ("a", "b"), 0.02) == []


def test_odd_turns_are_refused(root, tmp_path):
    data = DataFolder(root / "data/mix_dev")
    other = data.subset(data.utts, tmp_path / "mix_dev")
    (tmp_path / "mix_dev/rttm").unlink()
    with pytest.raises(SpeechrepError, match="no 'rttm' in it"):
        other.read("rttm")
    text = (root / "data/mix_dev/rttm").read_text()
    (tmp_path / "mix_dev/rttm").write_text("".join(line for line in text.splitlines(True) if "mix000" not in line))
    with pytest.raises(SpeechrepError, match="1 utterances that either it or the folder lacks, such as 'mix000'"):
        DataFolder(tmp_path / "mix_dev").read("rttm")
    (tmp_path / "mix_dev/rttm").write_text(text + "SPEAKER mix000 1 0.0 0.5 <NA> <NA> third <NA> <NA>\n")
    with pytest.raises(SpeechrepError, match="'mix000': 3 speakers"):
        sd.Task.labels_of(sd.Config(), SpeechDataset(
            DataFolder(tmp_path / "mix_dev"), root / "dump/logmel/mix_dev",
            take_inventory(data, root / "dump/logmel/mix_dev"), ("feats", "label:rttm")))


def test_diarisation_scoring_dies_on_a_missing_recording(tmp_path):
    made = made_of(tmp_path / "x", "sd", {"ref": ["a x 0 4 y 3 8", "b x 0 2"], "hyp": ["a p 0 8", "b"]})
    found = score_predictions(made, "test", "x", 0, made)["metrics"]
    assert found["der"]["value"] == pytest.approx(100 * (4 + 2) / 11)
    assert found["der_collar"]["value"] == pytest.approx(100 * (3.0 + 1.5) / (7 + 1.5))
    (made / "hyp").write_text("a p 0 8\n")
    with pytest.raises(SpeechrepError, match="without a hypothesis"):
        score_predictions(made, "test", "x", 0, made)


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
