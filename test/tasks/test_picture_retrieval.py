"""Retrieval across speech, pictures and languages: by hand, and from a checkpoint to score.json."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from toy_corpus import folder, make_corpus

from speechrep.data.dataset import SpeechDataset, take_inventory
from speechrep.data.folder import DataFolder, read_table, write_table
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.methods import resdavenet_vq
from speechrep.tasks.picture_retrieval import Described, answers, by_length, describe, of_category, retrieve, score_pictures
from speechrep.train import loop
from speechrep.train.distributed import World
from speechrep.upstream import load_method


def described(speech, image, picture, lang, text=None, seconds=None):
    """Vectors are given as numbers of axes."""
    axes = torch.eye(8)
    return Described([f"u{i}" for i in range(len(speech))], axes[torch.tensor(speech)], axes[torch.tensor(image)],
                     torch.tensor(picture), lang, text or [f"text {i}" for i in range(len(speech))],
                     seconds or [1.0] * len(speech))


def ranks(items):
    found = defaultdict(list)
    for queries in retrieve(items):
        found[queries.direction] += queries.ranks.tolist()
    return found


def test_perfect_vectors_find_everything():
    items = described([0, 1, 2, 0, 1, 2], [0, 1, 2], [0, 1, 2, 0, 1, 2], ["en"] * 3 + ["fr"] * 3)
    found = ranks(items)
    assert found == {"speech_to_picture": [0] * 6, "picture_to_speech": [0] * 6, "speech_to_speech": [0] * 6,
                     "speech_to_speech_by_length": [2] * 6}


def test_what_length_alone_finds():
    """French takes twice as long for everything: the same order, and the same logarithms when standardised. Then its
    longest and shortest change places."""
    langs, pictures = ["en"] * 3 + ["fr"] * 3, [0, 1, 2, 0, 1, 2]
    alike = described([0] * 6, [0, 1, 2], pictures, langs, seconds=[1.0, 2.0, 4.0, 2.0, 4.0, 8.0])
    assert ranks(alike)["speech_to_speech_by_length"] == [0] * 6
    turned = described([0] * 6, [0, 1, 2], pictures, langs, seconds=[1.0, 2.0, 4.0, 8.0, 4.0, 2.0])
    assert ranks(turned)["speech_to_speech_by_length"] == [2, 0, 2, 2, 0, 2]


def test_by_hand():
    """English is right, French has the first two descriptions exchanged; picture 2 has no French description."""
    items = described([0, 1, 2, 1, 0], [0, 1, 2], [0, 1, 2, 0, 1], ["en"] * 3 + ["fr"] * 2)
    found = ranks(items)
    # An orthogonal right answer comes behind all others, which are no worse.
    assert found["speech_to_picture"] == [0, 0, 0, 2, 2]
    assert found["picture_to_speech"] == [0, 0, 0, 1, 1]
    # From English to the two French ones, and from French to three English ones; picture 2 cannot ask.
    assert found["speech_to_speech"] == [1, 1, 2, 2]


def test_the_same_words_mean_either_picture():
    items = described([1, 3, 2], [1, 3, 2], [0, 1, 2], ["en", "en", "fr"], ["a star", "a star", "une étoile"])
    assert answers(items).tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert ranks(items)["speech_to_picture"] == [0, 0, 0]


def test_the_category_of_what_is_not_meant():
    """Two birds and two tools, the first bird told by the same words as the second: left out, it leaves the tools only."""
    items = described([0, 0, 2, 3], [0, 0, 2, 2], [0, 1, 2, 3], ["en"] * 4, ["a bird", "a bird", "a hammer", "a saw"])
    keep, hits, chance = of_category(items, ["bird", "bird", "tool", "tool"])
    assert keep.all() and hits.tolist()[:3] == [False, False, True]
    assert chance.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3])
    alone = described([0, 1], [0], [0, 0], ["en", "fr"])
    assert not of_category(alone, ["bird", "bird"])[0].any()


def test_one_language_has_no_other():
    items = described([0, 1], [0, 1], [0, 1], ["en", "en"])
    assert set(ranks(items)) == {"speech_to_picture", "picture_to_speech"}


@given(st.lists(st.floats(0.3, 20.0), min_size=6, max_size=6))
def test_nearer_in_length_is_nearer(seconds):
    items = described([0] * 6, [0], [0] * 6, ["en"] * 3 + ["fr"] * 3, seconds=seconds)
    z = np.concatenate([(log - log.mean()) / max(log.std(), 1e-9) for log in np.split(np.log(seconds), 2)])
    vectors = by_length(items).numpy()
    distance, likeness = abs(z[:, None] - z), vectors @ vectors.T
    clearly = distance[:, :, None] < distance[:, None] - 1e-3
    assert (likeness[:, :, None] > likeness[:, None])[clearly].all()
    assert np.allclose((vectors ** 2).sum(1), 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of one step."""
    root = make_corpus(tmp_path_factory.mktemp("toy"), {"train": 10, "test": 8})
    test = folder(root, "test")
    langs = dict(zip(test.utts, ["en", "fr"] * 4))
    test.write("utt2lang", langs)
    inventory = take_inventory(folder(root, "train"), root / "dump/logmel/train")
    config = resdavenet_vq.Config(widths=(8, 12), kernel=5, blocks=1, quantized=(), joint_dim=8, image_layout="resnet18",
                                  image_width=8, image_px=16)
    torch.manual_seed(0)
    method = resdavenet_vq.Method(config, inventory)
    data = SpeechDataset(folder(root, "train"), root / "dump/logmel/train", inventory, method.needs)
    (root / "exp").mkdir()
    loop.fit("resdavenet_vq", method, {"contrast": 1.0}, loop.TrainConfig(steps=1, batch_sec=20, warmup=1, precision="fp32"),
             data, data, root / "exp", 0, World())
    return root, method.eval()


def test_from_checkpoint_to_score(trained, tmp_path):
    root, _ = trained
    score_pictures(root / "exp/best.pt", folder(root, "test"), root / "dump", tmp_path, "toy", 3)
    score = read_json(tmp_path / "score.json")
    assert score["task"] == "pictures" and score["part"] == "test" and score["seed"] == 3
    assert set(score["metrics"]) == {f"{way}_{k}" for k in (1, 5, 10)
                                     for way in ("speech_to_picture", "picture_to_speech", "speech_to_speech",
                                                 "speech_to_speech_by_length")}
    # All eight texts differ, five pictures.
    assert score["metrics"]["speech_to_picture_1"]["chance"] == pytest.approx(20)
    assert score["metrics"]["speech_to_picture_5"]["value"] == score["metrics"]["speech_to_picture_5"]["chance"] == 100
    assert score["metrics"]["speech_to_picture_1"]["n"] == 8
    rows = (tmp_path / "per_utt.tsv").read_text().splitlines()
    names = rows[0].split("\t")
    places = [dict(zip(names, row.split("\t"))) for row in rows[1:]]
    for way in ("speech_to_picture", "picture_to_speech"):
        found = [int(row[f"{way}_place"]) for row in places]
        assert len(found) == 8 and min(found) >= 1
        assert score["metrics"][f"{way}_1"]["value"] == 100 * found.count(1) / 8


def test_categories_where_the_part_has_them(trained, tmp_path):
    root, _ = trained
    test = folder(root, "test")
    some = test.subset(test.utts, tmp_path / "test")
    some.write("category", dict(zip(test.utts, ["a", "b"] * 4)))
    entry = score_pictures(root / "exp/best.pt", DataFolder(some.path), root / "dump", tmp_path, "toy", 0)["metrics"][
        "speech_to_category_1"]
    assert entry["n"] == 8 and 0 < entry["chance"] < 100 and entry["value"] % 12.5 == 0


def test_the_untrained_network_is_another(trained, tmp_path):
    root, method = trained
    score = score_pictures(f"random:{root / 'exp/best.pt'}", folder(root, "test"), root / "dump", tmp_path, "random", 0)
    assert score["provenance"]["config"] == {"checkpoint": f"random:{root / 'exp/best.pt'}"}
    data = folder(root, "test")
    fresh = load_method(root / "exp/best.pt", untrained=True)
    trained_vectors, vectors = (describe(m, data, root / "dump/logmel/test").speech for m in (method, fresh))
    assert not torch.allclose(trained_vectors, vectors, atol=1e-3)


def test_vectors_are_those_of_the_method(trained):
    root, method = trained
    items = describe(method, folder(root, "test"), root / "dump/logmel/test")
    data = SpeechDataset(folder(root, "test"), root / "dump/logmel/test", method.inventory, ("feats", "image"))
    for row in (0, 5):
        item = data[row]
        alone = {"feats": item["feats"][None], "feats_lengths": torch.tensor([len(item["feats"])])}
        torch.testing.assert_close(items.speech[row], method.utterance(alone)[0], atol=1e-5, rtol=1e-4)
        image = torch.nn.functional.normalize(method.image_vector(item["image"][None]), dim=-1)[0]
        torch.testing.assert_close(items.image[items.picture[row]], image, atol=1e-5, rtol=1e-4)


def test_a_part_without_pictures_is_refused(trained, tmp_path):
    root, method = trained
    test = folder(root, "test")
    bare = test.subset(test.utts, tmp_path / "bare")
    (bare.path / "image.scp").unlink()
    with pytest.raises(SpeechrepError, match="no 'image.scp'"):
        describe(method, DataFolder(bare.path), root / "dump/logmel/test")


def test_a_description_without_features_is_refused(trained, tmp_path):
    root, method = trained
    feats = read_table(root / "dump/logmel/test/feats.scp")
    write_table(tmp_path / "feats.scp", dict(list(feats.items())[1:]))
    with pytest.raises(SpeechrepError, match=f"1 of 8 utterances of .*/test have no features, such as '{list(feats)[0]}'"):
        describe(method, folder(root, "test"), tmp_path)


def test_a_method_without_pictures_is_refused(trained, tmp_path, monkeypatch):
    root, _ = trained
    monkeypatch.delattr(resdavenet_vq.Method, "image_vector")
    with pytest.raises(SpeechrepError, match="a method without pictures"):
        score_pictures(root / "exp/best.pt", folder(root, "test"), root / "dump", tmp_path, "toy", 0)
