"""Habits of SUPERB's reference that change what is trained on and what chooses: `asv` on the test trials, balanced `ks`,
crops of `sid`, phones of the lexicon, ends of what is spelt."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
import yaml
from toy_corpus import folder, make_corpus

from speechrep.bin import main
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.data.folder import read_table
from speechrep.data.trials import make_trials, read_trials, write_trials
from speechrep.errors import SpeechrepError
from speechrep.metrics.eer import eer
from speechrep.metrics.score import read_score
from speechrep.tasks import asr, asv, ks, sf, sid
from speechrep.tasks.base import load_task
from speechrep.tasks.suite import find_jobs
from speechrep.tasks.train import train_task
from speechrep.train import loop
from speechrep.train.distributed import World
from speechrep.upstream import Upstream

TRAIN = {"steps": 6, "batch_sec": 8, "lr": 0.02, "warmup": 2, "dev_every": 2, "save_every": 3, "log_every": 2,
         "precision": "fp32"}
CONFS = {"asv": ("am_softmax", {"dim": 16, "last_dim": 32, "embedding_dim": 16, "crop_sec": 0.5}), "ks": ("cross_entropy", {}),
         "er": ("cross_entropy", {})}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Every fifth utterance of a part is "rare", the others "often"."""
    torch.set_num_threads(1)
    root = make_corpus(tmp_path_factory.mktemp("habits"), {"train": 20, "dev": 10, "test": 10})
    (root / "conf").mkdir()
    for part in ("train", "dev", "test"):
        data = folder(root, part)
        data.write("keyword", {utt: "often" if number % 5 else "rare" for number, utt in enumerate(data.utts)})
    write_trials(root / "data/test/trials", make_trials(folder(root, "test").read("utt2spk"),
                                                        folder(root, "test").read("utt2lang")))
    for task, (loss, model) in CONFS.items():
        conf = {"task": task, "weights": {loss: 1.0}, "model": model, "train": TRAIN}
        (root / f"conf/{task}.yaml").write_text(yaml.safe_dump(conf))
    return root


def suite(root, kind, task, exp, *more):
    words = ("suite", kind, "--upstream", "logmel", "--task", task, "--data", root / "data", "--conf", root / "conf", "--dump",
             root / "dump", "--exp", exp, *more)
    return main([str(word) for word in words])


def logged(run):
    return [line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if line["part"] == "dev"]


def test_the_test_trials_choose_the_verifier(root, tmp_path):
    """Their error is logged at every evaluation, the least one's weights are kept, and test then has that very error."""
    assert suite(root, "train", "asv", tmp_path, "--superb-compatible") == 0
    assert suite(root, "score", "asv", tmp_path, "--superb-compatible") == 0
    run = tmp_path / "tasks/logmel-0/asv.superb"
    lines = logged(run)
    best = min(lines, key=lambda line: (line["eer"], line["loss"]))
    done = json.loads((run / "done.json").read_text())
    assert done["best"]["step"] == best["step"] and done["best"]["value"] == pytest.approx(best["eer"], abs=1e-4)
    assert done["provenance"]["data"].keys() == {"train", "test"}
    score = read_score(run / "test/score.json")
    assert score["metrics"]["eer"]["value"] == pytest.approx(100 * best["eer"], abs=1e-3)
    assert "the weights are those of the least error on the tested trials" in score["notes"]
    assert score["provenance"]["config"]["model"]["test_chooses"] is True


def test_only_the_trials_count(root):
    """Pairs that are no trial do not, in whatever language; nobody who is in a trial is held out."""
    config = asv.Config(**CONFS["asv"][1], test_chooses=True, held_out=("spk0",))
    data = folder(root, "test")
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    needs = asv.Task.needs_of(config)
    assert needs == ("label:utt2spk",) and asv.Task.needs_of(asv.Config())[1:] == ("label:utt2lang",)
    part = SpeechDataset(data, root / "dump/logmel/test", inventory, ("feats", *needs))
    task = asv.Task(config, Upstream.open("logmel", inventory), asv.Task.labels_of(config, part))
    task.take_dev(data)
    assert asv.Task.chosen_utts(config, data, "dev") is None
    assert len(asv.Task.chosen_utts(config, data, "train")) < len(data.utts)
    rng = np.random.default_rng(0)
    vectors = {utt: v / np.linalg.norm(v) for utt, v in zip(data.utts, rng.standard_normal((len(data.utts), 3)))}
    trials = read_trials(data.path / "trials")
    wanted = eer(np.array([vectors[a] @ vectors[b] for a, b, _ in trials]), np.array([target for *_, target in trials]))[0]
    heard = [(utt, data.read("utt2spk")[utt], "", vector.tolist()) for utt, vector in vectors.items()]
    assert task.dev_values({}, [heard[:4], heard[4:]]) == {"eer": pytest.approx(wanted)}
    with pytest.raises(SpeechrepError, match=f"1 utterances of trials are not heard, such as '{heard[0][0]}'"):
        task.dev_values({}, [heard[1:]])


def test_what_the_suite_finds_with_habits(root, tmp_path):
    """The test is dev; trials of one kind keep the task from running; two sessions do for a dev part that is drawn."""
    (job,), _ = find_jobs(root / "data", [root / "conf"], "asv", superb=True)
    assert [part.name for part in job.parts] == ["train", "test", "test"]
    assert [part.name for part in find_jobs(root / "data", [root / "conf"], "asv")[0][0].parts] == ["train", "dev", "test"]
    for part in ("train", "test"):
        folder(root, part).subset(folder(root, part).utts, tmp_path / part)
    write_trials(tmp_path / "test/trials", [trial for trial in read_trials(root / "data/test/trials") if trial[2]])
    with pytest.raises(SpeechrepError, match="asv: no trials of both kinds in"):
        find_jobs(tmp_path, [root / "conf"], "asv", superb=True)
    data = folder(root, "train").subset(folder(root, "train").utts, tmp_path / "emotion")
    data.write("emotion", folder(root, "train").read("keyword"))
    data.write("utt2session", {utt: f"s{number % 2}" for number, utt in enumerate(data.utts)})
    with pytest.raises(SpeechrepError, match="er: 2 sessions in .*, wanted 3 or more"):
        find_jobs(tmp_path, [root / "conf"], "er")
    assert find_jobs(tmp_path, [root / "conf"], "er", superb=True)[0][0].folds == ("model.fold=1", "model.fold=2")


def task_of(root, **values):
    config = ks.Config(**values)
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    train = SpeechDataset(folder(root, "train"), root / "dump/logmel/train", inventory, ("feats", *ks.Task.needs_of(config)))
    return ks.Task(config, Upstream.open("logmel", inventory), ks.Task.labels_of(config, train)), train


def test_classes_are_drawn_equally_often(root):
    """As many utterances an epoch as there are, with replacement; of a class of a fifth half, and others each epoch."""
    task, train = task_of(root, balanced=True)
    assert task_of(root)[0].draw_weights(train) is None
    weights = task.draw_weights(train)
    assert sorted(set(weights)) == [1 / 16, 1 / 4] and weights.sum() == pytest.approx(2)
    config = loop.TrainConfig(steps=1, batch_sec=8)
    steps = iter(loop._loader(train, config, 0, World(), weights).batch_sampler)
    epochs: dict[int, list[int]] = {}
    while len(epochs) < 101:
        for epoch, index, _ in next(steps):
            epochs.setdefault(epoch, []).append(index)
    del epochs[100]
    assert {len(indices) for indices in epochs.values()} == {20} and any(len(set(epochs[n])) < 20 for n in range(3))
    keywords = folder(root, "train").read("keyword")
    counts = Counter(keywords[train.utts[index]] for indices in epochs.values() for index in indices)
    assert counts["rare"] / 2000 == pytest.approx(0.5, abs=0.05) and sorted(epochs[0]) != sorted(epochs[1])


def test_dev_is_drawn_for_each_evaluation(root, tmp_path, monkeypatch):
    """Ten of its ten utterances, in other numbers each time, and the same in a run that was stopped and goes on."""
    heard = []
    batches = loop.dev_batches

    def noted(*arguments):
        found = list(batches(*arguments))
        heard.append(sorted(utt for batch in found for utt in batch["utts"]))
        return iter(found)

    monkeypatch.setattr(loop, "dev_batches", noted)
    options = (root / "conf/ks.yaml", "logmel", root / "data/train", root / "data/dev", root / "dump")
    habits = {"device": "cpu", "overrides": list(ks.Task.superb)}
    train_task(*options, tmp_path / "whole", **habits)
    whole = heard.copy()
    assert [len(utts) for utts in whole] == [10, 10, 10] and len({tuple(utts) for utts in whole}) == 3
    assert all(len(set(utts)) < 10 for utts in whole)
    save = loop._Run.save

    def stop(self, loader):
        save(self, loader)
        if self.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        train_task(*options, tmp_path / "stopped", **habits)
    monkeypatch.setattr(loop._Run, "save", save)
    train_task(*options, tmp_path / "stopped", **habits)
    assert heard[3:] == whole
    heard.clear()
    train_task(*options, tmp_path / "plain", device="cpu")
    assert heard == [sorted(folder(root, "dev").utts)] * 3
    whole, stopped, plain = (torch.load(tmp_path / run / "last.pt", weights_only=True)["model"]["out.weight"]
                             for run in ("whole", "stopped", "plain"))
    assert torch.equal(whole, stopped) and not torch.allclose(whole, plain)


def test_balanced_keywords_in_the_suite(root, tmp_path, capsys):
    assert suite(root, "train", "ks", tmp_path, "--superb-compatible") == 0
    assert suite(root, "score", "ks", tmp_path, "--superb-compatible") == 0
    assert "superb-compatible: ks: model.balanced=true: utterances of training and dev are drawn" in capsys.readouterr().err
    score = read_score(tmp_path / "tasks/logmel-0/ks.superb/test/score.json")
    assert score["metrics"]["accuracy"]["n"] == 10 == len(read_table(tmp_path / "tasks/logmel-0/ks.superb/test/hyp"))
    assert score["provenance"]["config"]["model"]["balanced"] is True


def test_training_of_sid_sees_crops(root):
    """Another window of a long utterance in each epoch, all of a short one, and all of every one elsewhere."""
    config = sid.Config(within="", crop_sec=0.5)
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    needs = ("feats", *sid.Task.needs_of(config))
    train = SpeechDataset(folder(root, "train"), root / "dump/logmel/train", inventory, needs)
    task = sid.Task(config, Upstream.open("logmel", inventory), sid.Task.labels_of(config, train))
    assert task.crop_frames == 50 and not sid.Task.pools_of(config) and sid.Task.pools_of(sid.Config())
    task.train()
    whole = train[0]["feats"]
    starts = set()
    for epoch in range(20):
        item = train[(epoch, 0, 0)]
        batch = task.prepare(collate([item]), torch.Generator())
        x, lengths = task.features(batch)
        start = int(batch["starts"][0])
        starts.add(start)
        everything, _ = task.upstream.layers(collate([item]))
        assert lengths.tolist() == [50] and torch.equal(x[0], everything[0][0, start:start + 50])
    assert len(starts) > 5 and max(starts) <= len(whole) - 50
    item = train[0] | {"feats": whole[:30]}
    assert task.features(task.prepare(collate([item]), torch.Generator()))[1].tolist() == [30]
    task.eval()
    assert "starts" not in task.prepare(collate([train[0]]), torch.Generator())


def test_phones_of_the_lexicon(root, tmp_path):
    """Every utterance is learned and scored by its phones of the lexicon, whatever the aligner made of it."""
    conf = {"task": "asr", "weights": {"ctc": 1.0}, "model": {"head": "linear", "head_dim": 16, "stress": True}, "train": TRAIN}
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/pr.yaml").write_text(yaml.safe_dump(conf))
    for part in ("train", "dev", "test"):
        data = folder(root, part).subset(folder(root, part).utts, tmp_path / "data" / part)
        lines = data.read("phones")
        data.write("phones", {utt: f"{line} | LEX1" for utt, line in lines.items()})
        data.write("ali", {utt: line for utt, line in data.read("ali").items() if utt != data.utts[0]})
    words = ["--upstream", "logmel", "--task", "pr", "--data", tmp_path / "data", "--conf", tmp_path / "conf", "--dump",
             root / "dump", "--exp", tmp_path]
    for more, count in (([], 9), (["--superb-compatible"], 10)):
        for kind in ("train", "score"):
            assert main([str(word) for word in ("suite", kind, *words, *more)]) == 0
        out = tmp_path / f"tasks/logmel-0/pr{'.superb' if more else ''}"
        refs, spoken = read_table(out / "test/ref"), folder(root, "test").read("phones")
        assert len(refs) == count and all(line == spoken[utt] + (" LEX1" if more else "") for utt, line in refs.items())
        found = load_task(out / "best.pt")
        assert ("LEX1" in found.labels) == bool(more) and "</s>" not in found.labels
        assert found.head.out.out_features == 1 + len(found.labels) + bool(more)
    assert read_score(out / "test/score.json")["provenance"]["config"]["model"]["phones_from"] == "phones"


def test_an_end_is_learned_and_never_spelt(root):
    """Behind the target, of characters with a space before it; what is said stops there, and no error counts it."""
    config = asr.Config(units="chars", head="linear", head_dim=8, end_symbol=True)
    data = folder(root, "train")
    inventory = take_inventory(data, root / "dump/logmel/train")
    part = SpeechDataset(data, root / "dump/logmel/train", inventory, ("feats", "text"))
    task = asr.Task(config, Upstream.open("logmel", inventory), (" ", "a", "b"))
    task.eval()
    batch = collate([part[0]]) | {"texts": ["a b"]}
    made = task.prepare(batch, torch.Generator())
    assert made["targets"].tolist() == [[2, 1, 3, 1, 4]] and task.counts(made) == {"ctc": 5}
    rows = torch.tensor([[.1, .1, .6, .1, .1], [.4, .1, .05, .05, .4], [.05, .1, .1, .7, .05], [.3, .02, .04, .04, .6],
                         [.1, .1, .6, .1, .1]]).log()
    task.log_probs = lambda _: (rows[None], torch.tensor([5]))
    (found,) = task.emissions(made)
    assert torch.allclose(found.exp(), rows[:3, :4].exp()), "it ends where the end is the most likely"
    assert task.transcribe(made) == [["a", "b"]] and task.metrics(made) == {"error_rate": (2.0, 4.0)}
    phones = asr.Task(asr.Config(end_symbol=True), Upstream.open("logmel", inventory), ("A", "B"))
    assert phones.ending == (3,) and asr.Task.superb_of(asr.Config()).keys() == {"model.phones_from=phones",
                                                                                 "model.end_symbol=true"}
    with pytest.raises(ValueError, match="units are chars"):
        asr.Config(units="chars", phones_from="phones")
    assert asr.Task.superb_of(config).keys() == sf.Task.superb_of(sf.Config()).keys() == {"model.end_symbol=true"}
