"""vq-wav2vec's losses against plain loops, its codes, and the whole way to Discrete BERT through files."""

import math

import numpy as np
import pytest
import torch
import yaml
from toy_corpus import folder, make_corpus

from speechrep.config import build
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.extract import open_upstream
from speechrep.methods.discrete_bert import Config as BertConfig, Method as Bert
from speechrep.methods.vq_wav2vec import Config, Method
from speechrep.metrics.score import read_score
from speechrep.train.pretrain import pretrain
from speechrep.units import UnitsConfig, make_units

SMALL = {"front": "mel", "dim": 16, "aggregator": [2, 3], "groups": 2, "codes": 6, "steps": 3, "negatives": 4,
         "dropout": 0.0}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 8, "dev": 3})


def make(corpus, **changes):
    inventory = take_inventory(folder(corpus, "train"), corpus / "dump/logmel/train")
    torch.manual_seed(0)
    method = Method(build(Config, SMALL | changes), inventory).eval()
    dataset = SpeechDataset(folder(corpus, "train"), corpus / "dump/logmel/train", inventory, method.needs)
    batch = collate([dataset[i] for i in range(4)])
    return method, method.prepare(batch, torch.Generator())


def log_sigmoid(x):
    return -math.log(1 + math.exp(-x))


@pytest.mark.parametrize("changes", [{}, {"loss": "infonce", "shared": False}, {"quantizer": "kmeans"},
                                     {"front": "wave", "kernels": [10, 8, 1], "strides": [5, 16, 1]}])
def test_the_losses_are_those_of_plain_loops(corpus, changes):
    method, batch = make(corpus, **changes)
    with torch.no_grad():
        found = method(batch)
        (frames, codes, *_, contexts), lengths = method.layers(batch)
        guesses = method.predict(contexts)
        total, terms = 0.0, 0
        for row, length in enumerate(lengths.tolist()):
            for ahead in range(1, 4):
                for t in range(length - ahead):
                    guess = guesses[row, t, (ahead - 1) * 16:ahead * 16]
                    places = [int(j) - row * frames.shape[1] for j in batch["negatives"][row, t]]
                    true = float(guess @ codes[row, t + ahead])
                    false = [float(guess @ codes[row, place]) for place in places if place != t + ahead]
                    terms += 1
                    if changes.get("loss") == "infonce":
                        total += math.log(sum(math.exp(x) for x in [true, *false])) - true
                    else:
                        total -= log_sigmoid(true) + sum(log_sigmoid(-x) for x in false)
        counts = method.counts(batch)
        assert float(found["contrast"]) == pytest.approx(total, rel=1e-4) and counts["contrast"] == terms
        if "quantizer" in changes:
            ids, _ = method.units(batch)
            quantizer = method.quantizer
            projected = quantizer._norm(quantizer.project(frames.transpose(1, 2)).transpose(1, 2),
                                        torch.arange(frames.shape[1]) >= lengths[:, None])
            book = quantizer.codebook[0]
            squares = sum(float((projected[row, t, 8 * g:8 * g + 8] - book[ids[row, t, g]]).square().sum())
                          for row, length in enumerate(lengths.tolist()) for t in range(length) for g in range(2))
            assert float(found["codebook"]) == pytest.approx(squares, rel=1e-4)
            assert float(found["commitment"]) == pytest.approx(squares, rel=1e-4)
            assert counts["codebook"] == counts["commitment"] == int(lengths.sum()) * 16


def test_contexts_are_causal_and_codes_those_of_the_codebook(corpus):
    method, batch = make(corpus)
    changed = batch | {"feats": batch["feats"].clone()}
    changed["feats"][:, 20:] += 2.0
    with torch.no_grad():
        (frames, codes, *contexts), lengths = method.layers(batch)
        others = method.layers(changed)[0]
        for before, after in zip((frames, codes, *contexts), others, strict=True):
            torch.testing.assert_close(before[:, :8], after[:, :8])
        assert not torch.allclose(contexts[-1][:, 12:16], others[-1][:, 12:16])
        ids, unit_lengths = method.units(batch)
        inside = torch.arange(ids.shape[1]) < lengths[:, None]
        assert torch.equal(unit_lengths, lengths) and ids.shape[2] == 2
        torch.testing.assert_close(method.quantizer.lookup(ids)[inside], codes[inside])


def test_temperature_and_guard(corpus):
    method, batch = make(corpus, tau_decay=0.5)
    taus = []
    for step in (1, 2, 3):
        method.after_step(step)
        taus.append(float(method.tau))
    assert taus == [1.0, 0.5, 0.5]
    values = {name: total / count for name, (total, count) in method.metrics(batch).items()}
    assert set(values) == {"accuracy_1", "accuracy", "perplexity"} and 1 <= values["perplexity"] <= 6
    assert method.collapsed(values | {"perplexity": 3.0}, 1000) is None
    assert "perplexity is 1.20" in method.collapsed(values | {"perplexity": 1.2}, 1000)
    with torch.no_grad():
        method.quantizer.logits[2].weight.zero_()
        method.quantizer.logits[2].bias.copy_(torch.arange(12.0))
    values = {name: total / count for name, (total, count) in method.metrics(batch).items()}
    assert "perplexity is 1.00" in method.collapsed(values, 1000)


def test_codes_are_of_the_speech_at_the_start(corpus):
    """With the usual start logits vary far less from frame to frame than the noise that is added; frames themselves vary."""
    spreads = []
    for std in (0.0, 1.0):
        method, batch = make(corpus, dim=64, logit_std=std)
        frames, lengths = method.hearing(batch)
        inside = torch.arange(frames.shape[1]) < lengths[:, None]
        with torch.no_grad():
            spreads.append(float(method.quantizer.logits(frames[inside]).std(0).mean()))
        assert float(frames[inside].std(0).mean()) > 0.2
    assert spreads[0] < 0.2 and spreads[1] > 5 * spreads[0]


def test_from_speech_to_units_to_bert(corpus):
    """vq-wav2vec is trained, its codes are written, Discrete BERT learns from them and is an upstream."""
    root = corpus
    train = {"steps": 6, "batch_sec": 8, "lr": 1e-3, "warmup": 2, "dev_every": 6, "save_every": 6, "precision": "fp32"}
    parts = root / "data/train", root / "data/dev"
    (root / "vq.yaml").write_text(yaml.safe_dump({"method": "vq_wav2vec", "weights": {"contrast": 1.0}, "model": SMALL,
                                                  "train": train}))
    pretrain(root / "vq.yaml", *parts, root / "dump/logmel", root / "exp/vq", device="cpu")
    make_units("vq", str(root / "exp/vq/best.pt"), UnitsConfig(clusters=9), parts[0], [parts[1]], root / "dump",
               root / "exp/units/vq", root / "cache", device="cpu")
    upstream = open_upstream(str(root / "exp/vq/best.pt"), folder(root, "train"), root / "dump")
    dataset = SpeechDataset(folder(root, "dev"), root / "dump/logmel/dev", upstream.inventory, upstream.needs)
    ids, lengths = upstream.method.units(collate([dataset[0]]))
    known = np.load(root / "exp/units/vq/codebook.npz")["codes"].tolist()
    wanted = [known.index(a + b * 2 ** 15) if a + b * 2 ** 15 in known else len(known) for a, b in ids[0].tolist()]
    assert [int(word) for word in folder(root, "dev").read("units.vq")[dataset.utts[0]].split()] == wanted
    assert read_score(root / "exp/units/vq/dev/score.json")["metrics"]["used_codes"]["n"] == len(known) + 1

    bert = {"units": "vq", "codes": 10, "unit_frames": 2, "layers": 2, "dim": 16, "heads": 2, "ffn_dim": 24,
            "position_kernel": 8, "position_groups": 2}
    (root / "bert.yaml").write_text(yaml.safe_dump({"method": "discrete_bert", "weights": {"masked": 1.0},
                                                    "model": bert, "train": train}))
    pretrain(root / "bert.yaml", *parts, root / "dump/logmel", root / "exp/bert", device="cpu")
    reader = open_upstream(str(root / "exp/bert/best.pt"), folder(root, "train"), root / "dump")
    assert reader.needs == ("units:vq",) and reader.dims == (16, 16, 16)
    assert reader.hop_samples == upstream.hop_samples == 160
    dataset = SpeechDataset(folder(root, "dev"), root / "dump/logmel/dev", reader.inventory, reader.needs)
    with torch.no_grad():
        layers, lengths = reader.layers(collate([dataset[i] for i in range(3)]))
    frames = [len(dataset.feats[utt]) for utt in dataset.utts[:3]]
    assert lengths.tolist() == [(count + 1) // 2 for count in frames] and len(layers) == 3


@pytest.fixture(scope="module")
def bert(corpus):
    inventory = take_inventory(folder(corpus, "train"), corpus / "dump/logmel/train")
    torch.manual_seed(0)
    method = Bert(build(BertConfig, {"units": "toy", "codes": 6, "layers": 2, "dim": 16, "heads": 2, "ffn_dim": 24,
                                     "position_kernel": 6, "position_groups": 2}), inventory).eval()
    dataset = SpeechDataset(folder(corpus, "train"), corpus / "dump/logmel/train", inventory, method.needs)
    return method, method.prepare(collate([dataset[i] for i in range(4)]), torch.Generator())


def test_bert_s_loss_is_that_of_a_plain_loop(bert):
    method, batch = bert
    with torch.no_grad():
        total, count = 0.0, 0
        for row, length in enumerate(batch["units_lengths"].tolist()):
            hidden = batch["hidden"][row, :length]
            x = torch.stack([method.hidden_vector if hidden[t] else method.embedding.weight[batch["units"][row, t]]
                             for t in range(length)])
            logits = method.out(method.trunk(x[None], torch.zeros(1, length, dtype=torch.bool))[-1][0])
            for t in range(length):
                if hidden[t]:
                    total += float(logits[t].logsumexp(0) - logits[t, batch["units"][row, t]])
                    count += 1
        assert float(method(batch)["masked"]) == pytest.approx(total, rel=1e-4)
        assert method.counts(batch) == {"masked": count} and 0.2 * int(batch["units_lengths"].sum()) < count


def test_bert_cannot_see_what_is_hidden(bert):
    method, batch = bert
    other = batch | {"units": torch.where(batch["hidden"], (batch["units"] + 1) % 6, batch["units"])}
    with torch.no_grad():
        torch.testing.assert_close(method._predict(batch)[0], method._predict(other)[0])
        assert not torch.allclose(method.layers(batch)[0][-1], method.layers(other)[0][-1])


def test_bert_s_metrics_guard_and_error(bert):
    method, batch = bert
    values = {name: total / count for name, (total, count) in method.metrics(batch).items()}
    hidden = batch["units"][batch["hidden"]]
    assert values["most_frequent"] == pytest.approx(float(hidden.bincount().max()) / len(hidden))
    shares = hidden.bincount() / len(hidden)
    entropy = -float(torch.special.xlogy(shares, shares).sum())
    assert values["true_perplexity"] == pytest.approx(math.exp(entropy), rel=1e-4)
    assert method.collapsed({**values, "said_perplexity": 1.0, "true_perplexity": 5.0}, 5000).startswith("what is said")
    assert method.collapsed({**values, "said_perplexity": 3.0, "true_perplexity": 5.0}, 5000) is None
    from speechrep.errors import SpeechrepError
    with pytest.raises(SpeechrepError, match="the unit 6 in units.toy"):
        method.layers(batch | {"units": batch["units"] * 0 + 6})
