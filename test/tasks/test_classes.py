"""Tasks that give classes to utterances and frames, from training to score.json, on chords."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from toy_corpus import folder, make_corpus
from torch import nn

import speechrep.upstream
from speechrep.bin import main
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.data.folder import DataFolder, read_table, write_table
from speechrep.errors import SpeechrepError
from speechrep.extract import extract, mean_of
from speechrep.methods.base import Method
from speechrep.metrics.score import read_score
from speechrep.tasks import frame_phones, intent, sid
from speechrep.tasks.base import find_task, load_task
from speechrep.tasks.cached import Cache, CachedLayers, whole_part
from speechrep.tasks.frames import labelled_frames
from speechrep.tasks.predict import predict, score_predictions
from speechrep.tasks.train import train_task
from speechrep.train import checkpoint
from speechrep.upstream import Upstream

TRAIN = {"steps": 60, "batch_sec": 15, "lr": 0.02, "warmup": 5, "dev_every": 30, "save_every": 60, "precision": "fp32"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Chords with intents: whether K is in them, and who says them. Two utterances of dev and test have none."""
    torch.set_num_threads(1)
    root = make_corpus(tmp_path_factory.mktemp("classes"), {"train": 40, "dev": 6, "test": 10})
    for part in ("train", "dev", "test"):
        data = folder(root, part)
        texts, speakers = data.read("text"), data.read("utt2spk")
        labels = {utt: f"{'with' if 'k' in texts[utt] else 'without'}|{speakers[utt]}" for utt in data.utts}
        data.write("intent", {utt: labels[utt] for utt in data.utts[:None if part == "train" else -2]})
        data.write("utt2lang", {utt: {"spk0": "es", "spk1": "fr"}[speakers[utt]] for utt in data.utts})
    for task in ("sid", "lid", "intent", "frame_phones"):
        model = {"within": ""} if task == "sid" else {}
        conf = {"task": task, "weights": {"cross_entropy": 1.0}, "model": model, "train": TRAIN}
        (root / f"{task}.yaml").write_text(yaml.safe_dump(conf))
    (root / "asr.yaml").write_text(yaml.safe_dump(conf | {"task": "asr", "weights": {"ctc": 1.0}}))
    return root


def run(root, *arguments):
    assert main([str(value) for value in arguments]) in (0, None)


@pytest.mark.parametrize("task, metric, worst, utts", [
    ("sid", "accuracy", 90, 10), ("lid", "accuracy", 90, 10), ("intent", "accuracy", 60, 8),
    ("frame_phones", "frame_error", 25, 10)])
def test_from_training_to_the_score(root, task, metric, worst, utts, capsys):
    exp, out = root / "exp" / task, root / "out" / task
    run(root, "train", "--conf", root / f"{task}.yaml", "--upstream", "logmel", "--train", root / "data/train", "--dev",
        root / "data/dev", "--dump", root / "dump", "--exp", exp, "--device", "cpu")
    run(root, "decode", task, "--checkpoint", exp / "best.pt", "--data", root / "data/test", "--dump", root / "dump",
        "--out", out)
    run(root, "score", "predictions", out, "--part", "test", "--system", "logmel", "--out", out)
    score = read_score(out / "score.json")
    found = score["metrics"][metric]
    assert found["value"] < worst if metric == "frame_error" else found["value"] >= worst
    assert found["low"] <= found["value"] <= found["high"] and score["task"] == task
    assert score["provenance"]["data"]["test"]["utterances"] == utts == len(read_table(out / "hyp"))
    assert score["provenance"]["config"]["upstream"] == "logmel"
    done = json.loads((exp / "done.json").read_text())
    assert done["best"]["by"] == "error" and done["dev"]["error"] == pytest.approx(1 - done["dev"]["accuracy"])
    assert score["provenance"]["config"]["best"] == done["best"]
    # The utterances that have no intent do not vanish without a word.
    told = ["2 of 10 utterances have no label and are not scored"] if task == "intent" else []
    assert [note for note in score["notes"] if "no label" in note] == told
    assert ("- 2 of 10 utterances have no label and are not scored\n" in capsys.readouterr().out) == bool(told)


def copied(root, task, tmp_path):
    """The prediction of a task as files of one's own."""
    (tmp_path / "made.json").write_text(json.dumps({"task": task, "config": {}, "upstream": "x", "labels": []}))
    ref = {"a": "p q q", "b": "SIL q"} if task == "frame_phones" else {"a": "x", "b": "y", "c": "y"}
    for name in ("ref", "hyp"):
        write_table(tmp_path / name, ref)
    return tmp_path, ref


@pytest.mark.parametrize("task", ["sid", "frame_phones"])
def test_scoring_dies_on_a_missing_or_doubled_utterance(root, task, tmp_path):
    made, ref = copied(root, task, tmp_path)
    score_predictions(made, "test", "x", 0, made)
    write_table(made / "hyp", {"a": ref["a"]})
    with pytest.raises(SpeechrepError, match="without a hypothesis"):
        score_predictions(made, "test", "x", 0, made)
    write_table(made / "hyp", ref | {"z": "x"})
    with pytest.raises(SpeechrepError, match="without a reference"):
        score_predictions(made, "test", "x", 0, made)
    (made / "hyp").write_text("a x\na x\nb y\nc y\n")
    with pytest.raises(SpeechrepError, match="stands twice"):
        score_predictions(made, "test", "x", 0, made)
    write_table(made / "hyp", ref | {"a": "p"})
    if task == "frame_phones":
        with pytest.raises(SpeechrepError, match="1 frames against 3"):
            score_predictions(made, "test", "x", 0, made)
    (made / "made.json").unlink()
    with pytest.raises(SpeechrepError, match="no made.json"):
        score_predictions(made, "test", "x", 0, made)


def test_hand_worked_scores(root, tmp_path):
    made, ref = copied(root, "sid", tmp_path)
    write_table(made / "hyp", ref | {"c": "x"})
    write_table(made / "within", {"a": "es", "b": "fr", "c": "fr"})
    found = score_predictions(made, "test", "x", 0, made)["metrics"]
    assert {name: entry["value"] for name, entry in found.items()} == pytest.approx(
        {"accuracy": 200 / 3, "accuracy_es": 100, "accuracy_fr": 50})
    write_table(made / "choices", {"a": "1", "b": "2", "c": "2"})
    alone = score_predictions(made, "test", "x", 0, made)
    assert {name: entry["value"] for name, entry in alone["metrics"].items()} == {"accuracy": 50, "accuracy_fr": 50}
    assert alone["notes"] == ["1 utterances of groups with one class are left out"]
    write_table(made / "choices", dict.fromkeys("abc", "1"))
    with pytest.raises(SpeechrepError, match="one class to choose from"):
        score_predictions(made, "test", "x", 0, made)
    (made / "choices").unlink()
    write_table(made / "ref", ref | {"c": ""})
    with pytest.raises(SpeechrepError, match="without a class"):
        score_predictions(made, "test", "x", 0, made)
    made, ref = copied(root, "frame_phones", tmp_path)
    write_table(made / "hyp", {"a": "p q SIL", "b": "q q"})
    found = score_predictions(made, "test", "x", 0, made)["metrics"]
    assert found["frame_error"]["value"] == pytest.approx(40) and found["frame_error"]["n"] == 5
    assert found["frame_error_speech"]["value"] == pytest.approx(25) and found["frame_error_speech"]["n"] == 4


def dataset(root, config, module, part="train"):
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    needs = ("feats", *module.Task.needs_of(config))
    return SpeechDataset(folder(root, part), root / "dump/logmel" / part, inventory, needs), inventory


def make_task(root, module, **values):
    config = module.Config(**values)
    train, inventory = dataset(root, config, module)
    torch.manual_seed(0)
    return module.Task(config, Upstream.open("logmel", inventory), module.Task.labels_of(config, train)).eval(), train


def test_the_choice_is_among_the_speakers_of_the_language(root):
    """spk0 speaks es, spk1 fr: whoever is restricted to the language cannot be wrong, even untrained."""
    task, train = make_task(root, sid)
    assert task.labels == ("0\tspk0\tes", "0\tspk1\tfr")
    batch = task.prepare(collate([train[i] for i in range(8)]), torch.Generator())
    assert torch.isneginf(task.logits(batch)[0]).sum() == 8 and float(task(batch)["cross_entropy"].detach()) == 0
    files = task.predict(batch)
    assert files["hyp"] == files["ref"] and set(files["within"]) <= {"es", "fr"} and set(files["choices"]) == {"1"}
    # A language that training never heard restricts nothing; a speaker in another language than before is an error.
    batch["labels"] = {"utt2spk": ["spk0", "spk0"] * 4, "utt2lang": ["de", "fr"] * 4}
    batch = task.prepare(batch, torch.Generator())
    assert torch.isfinite(task.logits(batch)[0][0]).all() and batch["targets"].tolist() == [[0], [-100]] * 4
    assert task.counts(batch) == {"cross_entropy": 4.0} and torch.isfinite(task(batch)["cross_entropy"])


def test_a_speaker_that_training_never_heard_is_refused(root, tmp_path):
    task, _ = make_task(root, sid)
    test = folder(root, "test")
    strange = test.subset(test.utts, tmp_path / "test")
    strange.write("utt2spk", {utt: "spk9" if utt == test.utts[0] else spk for utt, spk in test.read("utt2spk").items()})
    with pytest.raises(SpeechrepError, match="never heard, such as 'spk9'"):
        predict(task, strange, root / "dump", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_class_that_training_never_saw_is_an_error_of_the_task(root):
    task, train = make_task(root, intent)
    batch = collate([train[i] for i in range(4)])
    right = batch["labels"]["intent"]
    batch["labels"] = {"intent": [*right[:2], "shouting|spk0", "with|spk0|twice"]}
    batch = task.prepare(batch, torch.Generator())
    assert (batch["targets"][2:] == -100).all() and task.counts(batch) == {"cross_entropy": 2.0}
    alone = task.prepare(collate([train[i] for i in range(2)]), torch.Generator())
    losses = [float(task(some)["cross_entropy"].detach()) for some in (batch, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert task.metrics(batch)["accuracy"][1] == 4
    files = task.predict(batch)
    assert files["ref"][2] == "shouting|spk0" and files["hyp"][2] != files["ref"][2]


def test_labels_that_do_not_fit_are_refused(root, tmp_path):
    train = folder(root, "train")
    for labels, why in (({u: "a|b" if u.endswith("0") else "a" for u in train.utts}, "labels of 1 and 2 slots"),
                        (dict.fromkeys(train.utts, "a|b"), "one class in slot 0")):
        other = train.subset(train.utts, tmp_path / "train")
        other.write("intent", labels)
        data = SpeechDataset(other, root / "dump/logmel/train", take_inventory(train, root / "dump/logmel/train"),
                             ("feats", "label:intent"))
        with pytest.raises(SpeechrepError, match=why):
            intent.Task.labels_of(intent.Config(), data)
    (tmp_path / "train/intent").unlink()
    with pytest.raises(SpeechrepError, match="no 'intent' in it"):
        SpeechDataset(DataFolder(tmp_path / "train"), root / "dump/logmel/train",
                      take_inventory(train, root / "dump/logmel/train"), ("feats", "label:intent"))
    task, _ = make_task(root, intent)
    (tmp_path / "train/intent").write_text("")
    with pytest.raises(SpeechrepError, match="no utterance with a label"):
        predict(task, DataFolder(tmp_path / "train"), root / "dump", tmp_path / "out")


def test_a_blank_label_is_none(root, tmp_path):
    """Neither a class in training nor scored in the test."""
    labels = dict(folder(root, "test").read("intent"))
    blank = next(iter(labels))
    parts = {}
    for part in ("train", "test"):
        shutil.copytree(folder(root, part).path, tmp_path / "data" / part)
        own = dict(folder(root, part).read("intent"))
        own[next(iter(own))] = " "
        write_table(tmp_path / "data" / part / "intent", own)
        parts[part] = DataFolder(tmp_path / "data" / part)
    train = parts["train"]
    data = SpeechDataset(train, root / "dump/logmel/train", take_inventory(train, root / "dump/logmel/train"),
                         ("feats", "label:intent"))
    assert data.left_out == 1 and len(data.utts) == 39
    assert set(intent.Task.labels_of(intent.Config(), data)) == {"0\twith", "0\twithout", "1\tspk0", "1\tspk1"}
    task, _ = make_task(root, intent)
    predict(task, parts["test"], root / "dump", tmp_path / "out")
    assert set(read_table(tmp_path / "out/ref")) == set(labels) - {blank}
    made = json.loads((tmp_path / "out/made.json").read_text())
    assert (made["unlabelled"], made["of"]) == (3, 10)


def test_every_labelled_utterance_is_predicted_or_none(root, tmp_path):
    """A part whose dump lacks an utterance is refused, not scored without it."""
    task, _ = make_task(root, sid)
    table = read_table(root / "dump/logmel/test/feats.scp")
    short = tmp_path / "dump/logmel/test"
    short.mkdir(parents=True)
    write_table(short / "feats.scp", dict(list(table.items())[1:]))
    with pytest.raises(SpeechrepError, match="1 of 10 utterances without features"):
        predict(task, folder(root, "test"), tmp_path / "dump", tmp_path / "out")


def test_probes_leave_no_aligned_utterance_out(root, tmp_path):
    """Those without an alignment are no frames of a phone; of the others each must be there."""
    test = folder(root, "test")
    part = test.subset(test.utts, tmp_path / "test")
    part.write("ali", {utt: test.read("ali")[utt] for utt in test.utts[2:]})
    table = read_table(root / "dump/logmel/test/feats.scp")
    for lacking, found in ((2, 8), (3, 0)):
        dumped = tmp_path / f"dump{lacking}/logmel/test"
        dumped.mkdir(parents=True)
        write_table(dumped / "feats.scp", dict(list(table.items())[lacking:]))
        frames = labelled_frames(Upstream.open("logmel", take_inventory(folder(root, "train"), root / "dump/logmel/train")),
                                 part, tmp_path / f"dump{lacking}")
        if found:
            assert len(list(frames)) == found
        else:
            with pytest.raises(SpeechrepError, match=f"1 of 8 utterances of .* have no features, such as '{test.utts[2]}'"):
                list(frames)


def test_pooling_and_batches_do_not_depend_on_padding(root):
    for module, values in ((intent, {}), (frame_phones, {})):
        task, train = make_task(root, module, **values)
        together = task.prepare(collate([train[i] for i in range(5)]), torch.Generator())
        alone = [task.prepare(collate([train[i]]), torch.Generator()) for i in range(5)]
        assert float(task(together)["cross_entropy"].detach()) == pytest.approx(
            sum(float(task(batch)["cross_entropy"].detach()) for batch in alone), rel=1e-5)
        assert task.predict(together)["hyp"] == [task.predict(batch)["hyp"][0] for batch in alone]


def test_frames_are_of_the_phone_at_their_place(root):
    task, train = make_task(root, frame_phones)
    batch = task.prepare(collate([train[3]]), torch.Generator())
    inventory = train.inventory
    with_phones = SpeechDataset(folder(root, "train"), root / "dump/logmel/train", inventory, ("feats", "phones"))
    item = with_phones[3]
    names = np.repeat([inventory.phones[i].rstrip("0123456789") for i in item["phones"]], item["durations"])
    assert [task.labels[i] for i in batch["targets"][0]] == names.tolist() and "SIL" in task.labels


class Waves(Method):
    """A method that hears samples: two layers of windows of 200 samples, 160 apart."""

    needs = ("audio",)
    losses = {"main": ()}
    Config = sid.Config

    def __init__(self, config, inventory):
        super().__init__(config, inventory)
        self.first, self.second = nn.Conv1d(1, 8, 200, 160), nn.Linear(8, 8)

    def layers(self, batch):
        x = self.first(batch["audio"][:, None]).transpose(1, 2).relu()
        return [x, self.second(x)], self.frame_lengths(batch["audio_lengths"])

    def frame_lengths(self, lengths):
        return (lengths - 200).div(160, rounding_mode="floor") + 1


@pytest.fixture
def waves(root, monkeypatch, tmp_path):
    """A checkpoint of it."""
    monkeypatch.setattr(speechrep.upstream, "find_method", lambda name: Waves)
    torch.manual_seed(0)
    method = Waves(sid.Config(), take_inventory(folder(root, "train"), root / "dump/logmel/train"))
    checkpoint.save(tmp_path / "waves/best.pt", checkpoint.content_of("waves", method, method.state_dict()))
    return str(tmp_path / "waves/best.pt")


def test_an_upstream_that_hears_samples(root, waves, tmp_path):
    upstream = Upstream.open(waves)
    assert upstream.needs == ("audio",) and upstream.hop_samples == 160 and upstream.rate_hz == 8000
    assert upstream.dims == (8, 8) and upstream.kind == "logmel"
    seconds = folder(root, "test").seconds
    for frames in labelled_frames(upstream, folder(root, "test"), root / "dump"):
        assert abs(len(frames.phones) - seconds[frames.utt] * 50) < 2 and len(frames.feats) == len(frames.phones)
    parts = root / "data/train", root / "data/dev", root / "dump"
    train_task(root / "frame_phones.yaml", waves, *parts, tmp_path / "exp", device="cpu", overrides=["train.steps=5"])
    task = load_task(tmp_path / "exp/best.pt")
    assert task.needs == ("audio", "label:ali")
    predict(task, folder(root, "test"), root / "dump", tmp_path / "out")
    assert len(read_table(tmp_path / "out/hyp")) == 10


def test_cached_layers_train_as_computed_ones_do(root, waves, tmp_path, monkeypatch):
    parts = root / "data/train", root / "data/dev", root / "dump"
    options = {"device": "cpu", "overrides": ["train.steps=12", "train.dev_every=6"]}
    train_task(root / "intent.yaml", waves, *parts, tmp_path / "computed", **options)
    train_task(root / "intent.yaml", waves, *parts, tmp_path / "filling", cache=tmp_path / "layers", **options)
    train_task(root / "frame_phones.yaml", waves, *parts, tmp_path / "frames", cache=tmp_path / "layers", **options)
    # Where all is cached, the upstream is heard no more than to ask its shape.
    heard = []
    layers = Waves.layers
    monkeypatch.setattr(Waves, "layers", lambda self, batch: heard.append(len(batch)) or layers(self, batch))
    for name in ("intent", "frame_phones"):
        train_task(root / f"{name}.yaml", waves, *parts, tmp_path / name, cache=tmp_path / "layers", **options)
    assert len(heard) <= 8
    # The head of intents is given one vector for each layer and utterance.
    assert {folder.name for folder in (tmp_path / "layers").glob("*/train-*/layer*")} == {
        "layer0", "layer1", "layer0.mean", "layer1.mean"}
    weights = [load_task(tmp_path / name / "best.pt").state_dict() for name in ("computed", "filling", "intent")]
    for key, value in weights[0].items():
        assert torch.allclose(value, weights[1][key], atol=1e-5), key
        assert torch.equal(weights[1][key], weights[2][key]), key


def test_means_of_kept_frames_are_those_of_heard_ones(root, waves, tmp_path, monkeypatch):
    arguments = waves, folder(root, "test"), folder(root, "train"), root / "dump"
    direct = extract(*arguments, tmp_path / "direct", [0, 1], mean=True)
    frames = extract(*arguments, tmp_path / "both", [0, 1])
    monkeypatch.setattr("speechrep.extract.layer_features", lambda *_: pytest.fail("heard again"))
    behind = extract(*arguments, tmp_path / "both", [0, 1], mean=True)
    plain = extract("logmel", *arguments[1:], tmp_path / "both", [0], mean=True)
    normalised = extract("logmel", *arguments[1:], tmp_path / "both", [0])
    assert len(direct[0]) == len(behind[0]) == len(plain[0]) == 10
    for utt in direct[0]:
        for layer in (0, 1):
            assert np.array_equal(direct[layer][utt], behind[layer][utt])
            np.testing.assert_allclose(direct[layer][utt], frames[layer][utt].mean(0)[None], atol=1e-5)
        np.testing.assert_allclose(plain[0][utt], normalised[0][utt].mean(0)[None], atol=1e-5)
    assert not mean_of(np.zeros((0, 3), dtype=np.float32)).any()


@pytest.mark.parametrize("name", ["intent", "frame_phones", "asr"])
def test_decoding_hears_a_kept_upstream_no_more(root, waves, tmp_path, name, monkeypatch):
    """With --cache the predictions are the same and the upstream is heard once for all; not where it has changed since."""
    parts = [root / f"data/{part}" for part in ("train", "dev")]
    train_task(root / f"{name}.yaml", waves, *parts, root / "dump", tmp_path / "run", device="cpu",
               overrides=["train.steps=5"])
    heard = []
    layers = Waves.layers
    monkeypatch.setattr(Waves, "layers", lambda self, batch: heard.append(len(batch["utts"])) or layers(self, batch)
                        if "utts" in batch else layers(self, batch))
    words = ["decode", name, "--checkpoint", str(tmp_path / "run/best.pt"), "--data", str(root / "data/test"), "--dump",
             str(root / "dump")]
    cached = [*words, "--cache", str(tmp_path / "layers"), "--train", str(root / "data/train")]
    assert main([*words, "--out", str(tmp_path / "plain")]) == 0
    plain = sum(heard)
    for out in ("filling", "filled"):
        assert main([*cached, "--out", str(tmp_path / out)]) == 0
    assert plain == (8 if name == "intent" else 10) and sum(heard) == plain + 10
    assert main([*cached[:-2], "--out", str(tmp_path / "untold")]) == 1
    # Another network under the same name: what the task was trained on is in its own checkpoint.
    content = torch.load(waves, weights_only=True)
    content["model"] = {key: value + 1 for key, value in content["model"].items()}
    torch.save(content, waves)
    assert main([*cached, "--out", str(tmp_path / "changed")]) == 0
    assert sum(heard) == 2 * plain + 10
    said = [read_table(tmp_path / out / "hyp") for out in ("plain", "filling", "filled", "changed")]
    assert all(table == said[0] for table in said)


def test_layers_that_are_too_large_are_not_kept(root, waves, tmp_path, monkeypatch, capsys):
    """They are computed at each step, to the same weights, and it is said; what is kept already is read."""
    monkeypatch.setattr("speechrep.tasks.cached.LARGEST_SHARE", 1e-15)
    words = ["train", "--conf", str(root / "frame_phones.yaml"), "--upstream", waves, "--device", "cpu", "--dump",
             str(root / "dump"), "--set", "train.steps=5"]
    words += [word for part in ("train", "dev") for word in (f"--{part}", str(root / "data" / part))]
    cached = [*words, "--cache", str(tmp_path / "layers")]
    assert main([*words, "--exp", str(tmp_path / "computed")]) == 0
    assert main([*cached, "--exp", str(tmp_path / "large")]) == 0
    assert "not kept but computed at every step" in capsys.readouterr().err and not (tmp_path / "layers").exists()
    weights = [load_task(tmp_path / name / "best.pt").state_dict() for name in ("computed", "large")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    monkeypatch.undo()
    monkeypatch.setattr(speechrep.upstream, "find_method", lambda name: Waves)
    assert main([*cached, "--exp", str(tmp_path / "kept")]) == 0
    monkeypatch.setattr("speechrep.tasks.cached.LARGEST_SHARE", 1e-15)
    capsys.readouterr()
    assert main([*cached, "--exp", str(tmp_path / "read")]) == 0 and "not kept" not in capsys.readouterr().err


def test_the_cache_is_not_filled_for_some_utterances(root, waves, tmp_path, monkeypatch):
    """Of a part of which a task wants some, such as a cohort of the training part, no more than these are heard; where it
    is kept, it is read."""
    parts = [root / f"data/{part}" for part in ("train", "dev")]
    train_task(root / "frame_phones.yaml", waves, *parts, root / "dump", tmp_path / "run", device="cpu",
               overrides=["train.steps=5"])
    task = load_task(tmp_path / "run/best.pt")
    cache = Cache(tmp_path / "layers", folder(root, "train"), root / "dump")
    test = folder(root, "test")
    some = frozenset(test.utts[:3])
    opened = whole_part(task, test, root / "dump", ("label:ali",), cache, some)
    assert set(opened.utts) == some and not isinstance(opened, CachedLayers) and not (tmp_path / "layers").exists()
    assert isinstance(whole_part(task, test, root / "dump", ("label:ali",), cache), CachedLayers)
    opened = whole_part(task, test, root / "dump", ("label:ali",), cache, some)
    assert set(opened.utts) == some and isinstance(opened, CachedLayers)


def test_task_names():
    assert {"asr", "sid", "lid", "intent", "frame_phones"} <= {
        name for name in ("asr", "sid", "lid", "intent", "frame_phones") if find_task(name).losses}
    with pytest.raises(SpeechrepError, match="task: utterance_class"):
        find_task("utterance_class")
