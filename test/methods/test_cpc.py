"""CPC's loss against a plain loop over frames, steps and negatives, and what its negatives are."""

import math

import pytest
import torch
from toy_corpus import folder, make_corpus

from speechrep.config import build
from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.methods.cpc import Config, Method
from speechrep.nn.masking import generators_of
from speechrep.nn.negatives import draw_negatives, hits, scores

SMALL = {"front": "mel", "dim": 16, "heads": 2, "ffn_dim": 24, "steps": 4, "negatives": 6, "dropout": 0.0}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 6})


def make(corpus, **changes):
    inventory = take_inventory(folder(corpus, "train"), corpus / "dump/logmel/train")
    torch.manual_seed(0)
    method = Method(build(Config, SMALL | changes), inventory).eval()
    dataset = SpeechDataset(folder(corpus, "train"), corpus / "dump/logmel/train", inventory, method.needs)
    batch = collate([dataset[i] for i in range(4)])
    return method, method.prepare(batch, torch.Generator())


@pytest.mark.parametrize("changes", [{}, {"predictor": "linear"}, {"negatives_from": "speaker", "recurrent": "gru"},
                                     {"front": "wave", "kernels": [10, 8, 4], "strides": [5, 4, 4], "layers": 2}])
def test_the_loss_is_that_of_a_plain_loop(corpus, changes):
    method, batch = make(corpus, **changes)
    with torch.no_grad():
        found = float(method(batch)["cpc"])
        (frames, *_, contexts), lengths = method.layers(batch)
        flat = frames.flatten(0, 1)
        total, anchors = 0.0, 0
        for row, length in enumerate(lengths.tolist()):
            own = contexts[row:row + 1, :length]
            guesses = [predictor(own, torch.zeros(1, length, dtype=torch.bool))[0] for predictor in method.predictors]
            for t in range(length - 4):
                anchors += 1
                for ahead, guess in enumerate(guesses, 1):
                    true = row * frames.shape[1] + t + ahead
                    others = [int(j) for j in batch["negatives"][row, t] if int(j) != true]
                    logits = [float(guess[t] @ flat[j]) / 16 for j in [true, *others]]
                    total += math.log(sum(math.exp(value) for value in logits)) - logits[0]
    assert found == pytest.approx(total, rel=1e-4)
    assert method.counts(batch) == {"cpc": anchors}
    assert method.across_batch == (frozenset({"cpc"}) if "negatives_from" in changes else frozenset())


def test_contexts_do_not_know_the_future(corpus):
    method, batch = make(corpus)
    changed = batch | {"feats": batch["feats"].clone()}
    changed["feats"][:, 20:] += 1.0
    pad = torch.zeros(4, 10, dtype=torch.bool)
    with torch.no_grad():
        for before, after in zip(method.layers(batch)[0], method.layers(changed)[0]):
            # A frame sees 3 feature frames at either side of twice its number.
            torch.testing.assert_close(before[:, :8], after[:, :8])
            assert not torch.allclose(before[:, 12:16], after[:, 12:16])
        x = torch.randn(4, 10, 16)
        y = x.clone()
        y[:, 5:] = 0
        guesses = [method.predictors[0](some, pad) for some in (x, y)]
        torch.testing.assert_close(guesses[0][:, :5], guesses[1][:, :5])


def test_negatives_come_from_where_they_should():
    lengths, speaker = torch.tensor([9, 5, 7]), torch.tensor([3, 8, 3])
    size = 9
    for who, pools in ((None, [{0}, {1}, {2}]), (speaker, [{0, 2}, {1}, {0, 2}])):
        drawn = draw_negatives(lengths, size, 500, generators_of(torch.arange(3)), who)
        for row, pool in enumerate(pools):
            found = drawn[row, :lengths[row]].flatten()
            assert {int(place) for place in found.unique()} == {
                other * size + t for other in pool for t in range(int(lengths[other]))}
            # Each as often as the next: 500 draws a frame.
            counts = torch.bincount(found)[found.unique()].float()
            assert counts.std() / counts.mean() < 0.1


def test_scores_by_hand():
    keys = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]])
    guesses = torch.tensor([[[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]]])
    negatives = torch.tensor([[[0, 1], [2, 0], [0, 0]]])
    for within in (True, False):
        found = scores(guesses, keys, negatives, 1, within)
        # Of frame 0 the true one is frame 1, which also is the second false one; of frame 1 it is frame 2.
        assert found.tolist() == [[[2.0, 1.0, float("-inf")], [6.0, float("-inf"), 2.0]]]
        assert hits(found).tolist() == [[True, True]]


def test_metrics_and_the_guard(corpus):
    method, batch = make(corpus)
    values = {name: total / count for name, (total, count) in method.metrics(batch).items()}
    assert set(values) == {"accuracy_1", "accuracy_2", "accuracy_3", "accuracy_4", "frame_std", "context_std"}
    assert method.collapsed(values | {"accuracy_1": 0.9}, 1000) is None
    assert "by chance in 14.3 %" in method.collapsed(values | {"accuracy_1": 0.15}, 1000)
    assert "hardly vary" in method.collapsed(values | {"frame_std": 1e-5}, 1000)
    assert method.collapsed(values | {"frame_std": 0.0}, 100) is None
    with torch.no_grad():
        for weight in method.hearing.front.convs.parameters():
            weight.zero_()
    values = {name: total / count for name, (total, count) in method.metrics(batch).items()}
    assert "hardly vary" in method.collapsed(values, 1000)
