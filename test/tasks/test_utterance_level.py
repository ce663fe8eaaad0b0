"""Upstreams that give one vector an utterance: tasks of utterances stand on them, tasks of frames refuse them, and the suite
leaves these out with a reason."""

import numpy as np
import pytest
import torch
from suite_corpus import TRAIN, make_recipe, write_conf
from toy_corpus import folder
from torch import nn

import speechrep.upstream
from speechrep.bin import main
from speechrep.data.ark import read_scp
from speechrep.data.dataset import take_inventory
from speechrep.data.folder import read_table
from speechrep.data.trials import make_trials, write_trials
from speechrep.errors import SpeechrepError
from speechrep.extract import bytes_of, extract, fingerprint, open_dataset, open_upstream, upstream_folder
from speechrep.methods import apc
from speechrep.methods.base import Method
from speechrep.metrics.score import read_score
from speechrep.nn.masking import pad_mask
from speechrep.tasks import sid
from speechrep.tasks.abx import score_abx
from speechrep.tasks.base import find_task, load_task, task_names
from speechrep.tasks.frames import labelled_frames
from speechrep.tasks.predict import predict
from speechrep.tasks.qbe import score_qbe
from speechrep.tasks.systems import find_systems
from speechrep.tasks.train import train_task
from speechrep.train import checkpoint
from speechrep.upstream import Upstream, is_utterance_level, source_of

APC = "exp/apc/small-0/best.pt"
ROWS = {"mfcc": "mfcc", "apc-small": APC, "random-apc": f"random:{APC}"}


class Voice(Method):
    """A method of whole utterances: two layers of the mean, the second from the first."""

    needs = ("feats",)
    losses = {"main": ()}
    Config = sid.Config
    utterance_level = True

    def __init__(self, config, inventory):
        super().__init__(config, inventory)
        self.first, self.second = nn.Linear(20, 8), nn.Linear(8, 8)

    def layers(self, batch):
        x, lengths = batch["feats"], batch["feats_lengths"]
        mean = x.masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0).sum(1, keepdim=True) / lengths[:, None, None]
        first = self.first(mean)
        return [first, self.second(first.relu())], self.frame_lengths(lengths)

    def frame_lengths(self, lengths):
        return torch.ones_like(lengths)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recipe's folder with trials, and configurations of classes that train long enough to learn them."""
    torch.set_num_threads(1)
    root = make_recipe(tmp_path_factory.mktemp("level"))
    for task in ("sid", "intent"):
        write_conf(root, task, {"task": task, "weights": {"cross_entropy": 1.0}, "train": TRAIN | {"steps": 120},
                                "model": {"within": ""} if task == "sid" else {}})
    write_conf(root, "asv", {"task": "asv", "weights": {"am_softmax": 1.0}, "train": TRAIN | {"steps": 120}, "model": {
        "dim": 16, "last_dim": 24, "embedding_dim": 8}})
    test = folder(root, "test")
    write_trials(root / "data/test/trials", make_trials(test.read("utt2spk"), test.read("utt2lang")))
    return root


@pytest.fixture
def recipe(made, monkeypatch):
    """Its folder, as that of a recipe that runs."""
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def voice(recipe, monkeypatch):
    """A checkpoint of a method of whole utterances."""
    find_method = speechrep.upstream.find_method
    monkeypatch.setattr(speechrep.upstream, "find_method",
                        lambda name: Voice if name in ("voice", __name__) else find_method(name))
    torch.manual_seed(0)
    method = Voice(sid.Config(), take_inventory(folder(recipe, "train"), recipe / "dump/logmel/train"))
    checkpoint.save(recipe / "exp/voice/small-0/best.pt", checkpoint.content_of("voice", method, method.state_dict()))
    return "exp/voice/small-0/best.pt"


def suite(kind, *arguments):
    return main(["suite", kind, *map(str, arguments)])


@pytest.mark.parametrize("spec", ROWS.values())
def test_means_are_those_of_the_frames(recipe, spec, tmp_path):
    """Of every layer, whatever the batch, kept or not; and they lie elsewhere than those of SPEC."""
    arguments = folder(recipe, "test"), folder(recipe, "train"), recipe / "dump"
    plain = open_upstream(spec, *arguments[1:])
    pooled = open_upstream(f"mean:{spec}", *arguments[1:])
    assert pooled.dims == plain.dims and (pooled.kind, pooled.needs) == (plain.kind, plain.needs)
    assert pooled.utterance_level and is_utterance_level(f"mean:{spec}")
    assert not plain.utterance_level and not is_utterance_level(spec)
    numbers = list(range(len(plain.dims)))
    frames = extract(spec, *arguments, tmp_path, numbers)
    means = extract(f"mean:{spec}", *arguments, tmp_path, numbers)
    for layer in numbers:
        assert set(means[layer]) == set(frames[layer]) == set(arguments[0].utts)
        for utt, rows in frames[layer].items():
            assert len(rows) > 10 and means[layer][utt].shape == (1, rows.shape[1])
            np.testing.assert_allclose(means[layer][utt][0], rows.mean(0, dtype=np.float64), rtol=2e-5, atol=2e-6)
    dataset = open_dataset(pooled, arguments[0], recipe / "dump")
    assert bytes_of(pooled, dataset, [0], False) == len(dataset) * plain.dims[0] * 4
    places = {upstream_folder(tmp_path, name, *arguments[1:]) for name in (spec, f"mean:{spec}", f"mean:random:{APC}")}
    assert len(places) == 3 - (spec == ROWS["random-apc"])
    assert len({fingerprint(name, *arguments[1:]) for name in (spec, f"mean:{spec}")}) == 2


def test_an_utterance_without_frames_has_a_mean_of_zeros(recipe):
    upstream = open_upstream("mean:mfcc", folder(recipe, "train"), recipe / "dump")
    size = len(upstream.inventory.mean)
    batch = {"feats": torch.ones(2, 3, size), "feats_lengths": torch.tensor([0, 2])}
    (means,), lengths = upstream.layers(batch)
    assert lengths.tolist() == upstream.frame_lengths(batch["feats_lengths"]).tolist() == [1, 1]
    assert not means[0].any()
    assert torch.allclose(means[1, 0], (1 - upstream.mean) / upstream.std)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("task", ["sid", "intent"])
def test_tasks_that_pool_say_the_same_of_means(recipe, tmp_path, task, cached):
    """On mean:X they learn, predict and score what they do on X: their heads take the mean themselves."""
    said = []
    for name, spec in (("frames", APC), ("means", f"mean:{APC}")):
        train_task(recipe / f"conf/{task}.yaml", spec, recipe / "data/train", recipe / "data/dev", recipe / "dump",
                   tmp_path / name, device="cpu", cache=tmp_path / "layers" if cached else None)
        trained = load_task(tmp_path / name / "best.pt")
        predict(trained, folder(recipe, "test"), recipe / "dump", tmp_path / name / "test")
        assert main(["score", "predictions", str(tmp_path / name / "test"), "--part", "test", "--system", "x", "--out",
                     str(tmp_path / name / "test")]) in (0, None)
        said.append((trained, read_table(tmp_path / name / "test/hyp"),
                     read_score(tmp_path / name / "test/score.json")["metrics"]))
    (first, hypotheses, metrics), (second, others, same) = said
    assert others == hypotheses and same == metrics and len(hypotheses) == 10
    if task == "sid":
        assert metrics["accuracy"]["value"] >= 90
    for key, value in first.state_dict().items():
        assert torch.allclose(value, second.state_dict()[key], atol=1e-4), key


def test_a_method_of_whole_utterances(recipe, voice, tmp_path):
    """No hop is measured; it serves classes and verification, whose vectors depend on the utterance alone."""
    upstream = Upstream.open(voice)
    assert upstream.utterance_level and is_utterance_level(voice) and upstream.dims == (8, 8)
    assert not is_utterance_level(APC)
    for what in ("stride", "hop_samples"):
        with pytest.raises(SpeechrepError, match=f"{voice} for what goes by frames: it gives one vector an utterance"):
            getattr(upstream, what)
    for task in ("sid", "intent", "asv"):
        train_task(recipe / f"conf/{task}.yaml", voice, recipe / "data/train", recipe / "data/dev", recipe / "dump",
                   tmp_path / task, device="cpu", cache=tmp_path / "layers")
        out = tmp_path / task / "test"
        predict(load_task(tmp_path / task / "best.pt"), folder(recipe, "test"), recipe / "dump", out)
        assert main(["score", "predictions", str(out), "--part", "test", "--system", "x", "--out", str(out)]) in (0, None)
        metrics = read_score(out / "score.json")["metrics"]
        # Two voices, an octave apart.
        if task == "sid":
            assert metrics["accuracy"]["value"] >= 90
        if task == "asv":
            assert metrics["eer"]["value"] <= 10
    kept = sorted((tmp_path / "layers").glob("small-0-*/train-*/layer*/feats.scp"))
    assert [path.parent.name for path in kept] == ["layer0", "layer0.mean", "layer1", "layer1.mean"]
    frames, means = (read_scp(path) for path in kept[:2])
    assert len(frames) == 20 and all(np.array_equal(frames[utt], means[utt]) for utt in frames)


def test_a_method_that_does_not_say_what_it_gives_is_refused(recipe, voice, monkeypatch):
    monkeypatch.setattr(Voice, "utterance_level", False)
    with pytest.raises(SpeechrepError, match="(?s)1 and 1 frames of .*one vector an utterance of a method that says so"):
        Upstream.open(voice)
    monkeypatch.setattr(apc.Method, "utterance_level", True)
    with pytest.raises(SpeechrepError, match="mend the method's frame_lengths or its utterance_level"):
        Upstream.open(APC)


def test_tasks_of_frames_refuse_it(recipe, tmp_path):
    spec, train, test = f"mean:{APC}", folder(recipe, "train"), folder(recipe, "test")
    why = f"{spec} for %s: it gives one vector an utterance\n  wanted: an upstream with frames"
    for task in ("asr", "frame_phones"):
        with pytest.raises(SpeechrepError, match=why % task):
            train_task(recipe / f"conf/{task}.yaml", spec, train.path, recipe / "data/dev", recipe / "dump", tmp_path / task,
                       device="cpu")
    with pytest.raises(SpeechrepError, match=why % "abx"):
        score_abx(spec, train, test, recipe / "dump", tmp_path / "abx", "x", 0)
    with pytest.raises(SpeechrepError, match=why % "qbe"):
        score_qbe(spec, train, test, test, recipe / "dump", tmp_path / "qbe", "x", 0)
    with pytest.raises(SpeechrepError, match=why % "what goes by frames"):
        next(labelled_frames(open_upstream(spec, train, recipe / "dump"), test, recipe / "dump"))
    assert {name for name in task_names() if not find_task(name).frame_level} == {"asv", "er", "intent", "ks", "lid", "sid"}


def test_the_suite_leaves_tasks_of_frames_out(recipe, voice, tmp_path, capsys):
    """With a reason, of this system alone; the others it scores, and MFCC's rows are whole."""
    options = "--task", "frame_phones,sid,abx", "--exp", tmp_path / "exp", "--upstream", f"mean:mfcc,{voice},mfcc"
    settings = "--set", "train.steps=8"
    assert suite("extract", *options, *settings) in (0, None)
    assert suite("train", *options, *settings, "--device", "cpu") in (0, None)
    told = capsys.readouterr().err.splitlines()
    for name in ("mean-mfcc", "voice-small"):
        line = f"not frame_phones, abx of {name}: one vector an utterance, where they need frames"
        assert told.count(line) == 2
    assert not any("of mfcc:" in line for line in told)
    assert suite("score", *options, *settings) in (0, None)
    found = {path.parent.relative_to(tmp_path / "exp/tasks").as_posix() for path in (tmp_path / "exp").rglob("score.json")}
    assert found == {"mean-mfcc-0/sid/test", "voice-small-0/sid/test", "mfcc-0/sid/test", "mfcc-0/frame_phones/test",
                     "mfcc-0/abx"}
    scores = [read_score(tmp_path / f"exp/tasks/{name}-0/sid/test/score.json")["metrics"] for name in ("mean-mfcc", "mfcc")]
    assert scores[0] == scores[1]


def test_names_and_sources(recipe):
    systems = find_systems(",".join(f"mean:{spec}" for spec in ROWS.values()), [0])
    assert [system.name for system in systems] == [f"mean-{name}" for name in ROWS]
    assert [source_of(system.spec) for system in systems] == ["mfcc", APC, APC]
    with pytest.raises(SpeechrepError, match="upstream mean:nothing.pt: no such file"):
        find_systems("mean:nothing.pt", [0])
