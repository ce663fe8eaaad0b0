"""Which of an upstream's weights a trained task moves: none, all, or those from a layer on. One contract for every task
there is."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import yaml
from toy_corpus import FEATURES, folder, make_corpus

from speechrep.config import build, read_yaml
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.data.dump import dump
from speechrep.data.rttm import write_rttm
from speechrep.errors import SpeechrepError
from speechrep.methods.base import find_method, method_names
from speechrep.tasks.base import find_task, load_task, task_names
from speechrep.tasks.train import train_task
from speechrep.train import checkpoint
from speechrep.upstream import Upstream

SMALL = Path(__file__).resolve().parents[1] / "methods/small"
TRAIN = {"steps": 2, "batch_sec": 15, "lr": 0.01, "warmup": 0, "dev_every": 2, "save_every": 1, "precision": "fp32"}
MODELS = {"asr": {"head": "linear", "head_dim": 8}, "sf": {"head": "linear", "head_dim": 8},
          "asv": {"dim": 8, "last_dim": 8, "embedding_dim": 8, "crop_sec": 0.5}, "sd": {"dim": 8, "chunk_frames": 60}}
"""What keeps heads small, or makes sense of a small corpus."""
LAYERS = 3
UNUSED = ("mean", "std", "method.encoder.mean", "method.encoder.std", "method.encoder.hidden_vector", "method.head")
"""What no layer of the upstream is made with begins with these: statistics, and HuBERT's head."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Chords with labels for every task, and an untrained HuBERT of three layers with dropout everywhere."""
    torch.set_num_threads(1)
    root = make_corpus(tmp_path_factory.mktemp("finetune"), {"train": 12, "dev": 4})
    for part in ("train", "dev"):
        data = folder(root, part)
        texts, speakers = data.read("text"), data.read("utt2spk")
        two = {utt: "one" if "k" in texts[utt] else "two" for utt in data.utts}
        for stream in ("intent", "keyword", "emotion", "utt2lang"):
            data.write(stream, two)
        data.write("utt2session", {utt: str(1 + i % 5) for i, utt in enumerate(data.utts)})
        data.write("slots", {utt: f"B-key {texts[utt][0]} E-key {texts[utt][1:]}" for utt in data.utts})
        write_rttm(data.path / "rttm", {utt: [(speakers[utt], 0.0, 0.3), ("other", 0.2, 0.5)] for utt in data.utts})
        dump(data.path, root / "dump/mfcc" / part, replace(FEATURES, kind="mfcc", snip_edges=False), cmvn=True)
    rates = {name: 0.3 for name in ("dropout", "attention_dropout", "input_dropout", "activation_dropout")}
    save(root, "hubert", "hubert", **rates, layers=LAYERS)
    return root


def save(root, name, method, **changes):
    cls = find_method(method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = cls(build(cls.Config, read_yaml(SMALL / f"{method}.yaml")["model"] | changes),
                   take_inventory(folder(root, "train"), root / "dump/logmel/train"))
    checkpoint.save(root / f"{name}.pt", checkpoint.content_of(method, made, made.state_dict()))


def trained(root, task, exp, upstream="hubert.pt", steps=2, watch=None, **model):
    """The upstream's weights behind some steps of a task, by name."""
    cls = find_task(task)
    conf = {"task": task, "weights": dict.fromkeys(cls.losses["main"], 1.0), "train": TRAIN | {"steps": steps},
            "model": MODELS.get(task, {}) | model}
    (root / f"{exp}.yaml").write_text(yaml.safe_dump(conf))
    train_task(root / f"{exp}.yaml", str(root / upstream) if upstream.endswith(".pt") else upstream, root / "data/train",
               root / "data/dev", root / "dump", root / exp, device="cpu", watch=watch)
    return load_task(root / exp / "best.pt").upstream.state_dict()


def layer_of(name):
    """The number of the hidden state that a weight of the small HuBERT is first of use for; None for none."""
    if name.startswith(UNUSED):
        return None
    block = name.partition(".blocks.")[2]
    return 1 + int(block.partition(".")[0]) if block else 0


@pytest.mark.parametrize("task", task_names())
def test_frozen_whole_and_from_a_layer(root, task):
    before = Upstream.open(str(root / "hubert.pt")).state_dict()
    numbers = {layer_of(name) for name in before}
    assert numbers == {None, *range(LAYERS + 1)}
    for name, model, moved in (("frozen", {}, set()), ("all", {"finetune": True}, set(range(LAYERS + 1))),
                               ("upper", {"finetune": True, "finetune_from": 2}, {2, 3})):
        after = trained(root, task, f"{task}-{name}", **model)
        changed = {key for key in before if not torch.equal(before[key], after[key])}
        assert changed == {key for key in before if layer_of(key) in moved}, name


@pytest.mark.parametrize("name", method_names())
def test_below_a_layer_nothing_moves_and_nothing_is_drawn(root, name):
    """Of every method: what lies below is, in training, what it is in eval mode, and is not differentiated; from there on
    each layer is."""
    names = {field.name for field in fields(find_method(name).Config)}
    rates = {key: 0.9 for key in names if key.endswith("dropout") or key == "layerdrop"}
    save(root, f"small-{name}", name, **rates, **dict.fromkeys(names & {"layers"}, LAYERS))
    try:
        upstream = Upstream.open(str(root / f"small-{name}.pt"))
    except SpeechrepError as error:
        assert "no frame features" in str(error)
        return
    needs = (*upstream.needs, "label:utt2spk")
    batch = collate([SpeechDataset(folder(root, "train"), root / "dump/logmel/train", upstream.inventory, needs)[i]
                     for i in range(3)])
    sid = find_task("sid")
    config = sid.Config(within="", finetune=True)
    still = [layer.detach() for layer in upstream.eval().layers(batch)[0]]
    # Codes that are looked up in a codebook which gradients do not move have nothing to train.
    for first in range(1, len(still) - (name == "vqvae")):
        task = sid(replace(config, finetune_from=first), upstream, ("0\tspk0", "0\tspk1")).train()
        layers, _ = upstream.layers(batch)
        for layer, calm in zip(layers[:first], still):
            assert not layer.requires_grad
            torch.testing.assert_close(layer, calm, atol=1e-5, rtol=1e-5)
        assert all(layer.requires_grad for layer in layers[first:-1]), first
        assert task.upstream.method.training


def test_mixed_precision_is_for_what_is_trained_alone(root):
    """A frozen upstream is heard as it is kept in a cache, whatever the training's precision."""
    upstream = Upstream.open(str(root / "hubert.pt"))
    batch = collate([SpeechDataset(folder(root, "train"), root / "dump/logmel/train", upstream.inventory, upstream.needs)[i]
                     for i in range(3)])
    sid = find_task("sid")
    for finetune in (False, True):
        task = sid(sid.Config(within="", finetune=finetune), upstream, ("0\tspk0", "0\tspk1")).eval()
        with torch.no_grad():
            heard, _ = task.features(batch)
            with torch.autocast("cpu", torch.bfloat16):
                mixed, _ = task.features(batch)
        assert torch.equal(mixed, heard) != finetune


def test_gone_on_with_it_ends_at_the_same_weights(root):
    """The head is alone at first; what last.pt has of the optimiser is of what has been trained."""
    model = {"finetune": True, "finetune_from": 2, "finetune_after": 2, "within": ""}
    trained(root, "sid", "peace", steps=5, **model)

    def stop(step, values):
        if step == last:
            raise InterruptedError

    before, kept = Upstream.open(str(root / "hubert.pt")), {}
    own = [f"upstream.{name}" for name, value in before.named_parameters()
           if any(value is one for one in before.parameters_from(2))]
    # The last checkpoint is that of the step before.
    for last in (2, 4):
        with pytest.raises(InterruptedError):
            trained(root, "sid", "stopped", steps=5, watch=stop, **model)
        kept[last] = checkpoint.load(root / "stopped/last.pt")
    head = [key for key in kept[2]["model"] if not key.startswith("upstream.")]
    assert [kept[last]["step"] for last in kept] == [1, 3]
    assert [len(kept[last]["optimisers"]["main"]["state"]) for last in kept] == [len(head), len(head) + len(own)]
    assert [[torch.equal(kept[last]["model"][key], before.state_dict()[key.removeprefix("upstream.")]) for key in own]
            for last in kept] == [[True] * len(own), [False] * len(own)]
    trained(root, "sid", "stopped", steps=5, **model)
    whole, again = (checkpoint.load(root / name / "last.pt")["model"] for name in ("peace", "stopped"))
    assert all(torch.equal(whole[key], again[key]) for key in whole)


def test_a_folder_in_the_format_of_transformers(root):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)).save_pretrained(root / "released")
    upstream = Upstream.open(str(root / "released"))
    names = {id(parameter): name for name, parameter in upstream.named_parameters()}
    own = {names[id(parameter)] for parameter in upstream.parameters_from(3)}
    assert own == {name for name in names.values() if name.startswith("method.encoder.trunk.blocks.2.")} and own


def test_what_cannot_be_divided(root):
    for upstream, model, said in (
            ("mfcc", {"finetune": True, "finetune_from": 1}, "layer 1 as the first to be trained of mfcc, which has 1"),
            ("hubert.pt", {"finetune": True, "finetune_from": 4}, "which has 4.*a number from 1 to 3"),
            ("hubert.pt", {"finetune": True, "finetune_from": -1}, "a number from 1 to 3"),
            ("hubert.pt", {"finetune_from": 1}, "with an upstream that is frozen"),
            ("hubert.pt", {"finetune_after": 1, "finetune_from": 0}, "with an upstream that is frozen")):
        with pytest.raises(SpeechrepError, match=re.compile(said, re.DOTALL)):
            trained(root, "sid", f"refused-{upstream}-{len(model)}-{model['finetune_from']}", upstream, **model)
    save(root, "vqvae", "vqvae")
    upstream = Upstream.open(str(root / "vqvae.pt"))
    with pytest.raises(SpeechrepError, match="nothing to train from layer"):
        upstream.parameters_from(len(upstream.dims) - 1)
