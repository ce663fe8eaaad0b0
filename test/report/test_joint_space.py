"""The similarity matrix and the plane of frames."""

import numpy as np
import pytest
import torch
from toy_corpus import folder

from speechrep.data.dataset import SpeechDataset, collate
from speechrep.errors import SpeechrepError
from speechrep.report import joint_space
from speechrep.upstream import Upstream


@pytest.fixture
def upstream(recipe):
    return Upstream.open(str(recipe / "exp/ctap/quick/best.pt"))


def test_similarity_is_the_cosine_of_both_sides(recipe, upstream):
    test = folder(recipe, "test")
    utt = test.utts[3]
    found = joint_space.frame_similarity(upstream.method, test, recipe / "dump", utt)
    dataset = SpeechDataset(test, recipe / "dump/logmel/test", upstream.inventory, ("feats", "phones"))
    with torch.no_grad():
        speech, phones, lengths, _ = upstream.method.joint(collate([dataset[3]]))
    s, p = speech[0].numpy(), phones[0].numpy()
    expected = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in p] for a in s])
    assert found.matrix.shape == (int(lengths[0]),) * 2
    np.testing.assert_allclose(found.matrix, expected, atol=1e-5)
    assert sum(found.durations) == len(found.matrix) and found.phones[0] == "SIL"
    assert found.hop_sec == pytest.approx(0.02)


def test_hits_by_hand():
    matrix = np.array([[0.9, 0.1, 0.0], [0.1, 0.2, 0.8], [0.3, 0.0, 0.7]])
    found = joint_space.Similarity("u", matrix, ["A", "B"], [2, 1], 0.02)
    # speech frames 0 and 2 find their own token, frame 1 (token A) finds column 2 (token B);
    # columns 0, 1 and 2 find rows 0, 1 and 1: the last belongs to the other token.
    assert found.hits == pytest.approx((2 / 3, 2 / 3))


def test_an_utterance_without_features(recipe, upstream):
    with pytest.raises(SpeechrepError, match="nobody"):
        joint_space.frame_similarity(upstream.method, folder(recipe, "test"), recipe / "dump", "nobody")


def test_frames_are_balanced_and_repeatable(recipe, upstream):
    test = folder(recipe, "test")
    feats, phones, speakers = joint_space.some_frames(upstream, test, recipe / "dump", 60)
    assert feats.shape == (60, 16) and len(phones) == 60
    assert (speakers == "spk0").sum() == (speakers == "spk1").sum() == 30
    assert "SIL" not in phones and set(phones) <= {"A", "B", "K", "M", "S"}, "phones without stress, no silence"
    np.testing.assert_allclose(np.linalg.norm(feats, axis=1), 1)
    again = joint_space.some_frames(upstream, test, recipe / "dump", 60)
    assert np.array_equal(feats, again[0])
    other = joint_space.some_frames(upstream, test, recipe / "dump", 60, seed=1)
    assert not np.array_equal(feats, other[0])


def clouds(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    return rng.normal(size=(count, 8)) * 0.1 + 5 * np.eye(3, 8)[labels], labels


@pytest.mark.parametrize("hidden", [False, True])
def test_clouds_stay_apart_in_the_plane(hidden, monkeypatch):
    if hidden:
        import sys
        monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    else:
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    feats, labels = clouds(90)
    points, how = joint_space.to_plane(feats)
    assert points.shape == (90, 2) and how.startswith("the first two principal" if hidden else "t-SNE")
    centres = np.stack([points[labels == k].mean(0) for k in range(3)])
    own = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(1)
    assert (own == labels).all()
    assert np.array_equal(points, joint_space.to_plane(feats)[0])


def test_principal_components_agree_with_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    feats = np.random.default_rng(0).normal(size=(15, 5))
    points, _ = joint_space.to_plane(feats)
    expected = decomposition.PCA(2).fit_transform(feats)
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-9)
