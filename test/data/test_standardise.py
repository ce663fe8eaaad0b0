"""Features standardised within utterances and speakers."""

import shutil

import numpy as np
import pytest
from toy_corpus import folder, make_corpus

from speechrep.data import standardise
from speechrep.data.ark import read_scp
from speechrep.data.dataset import SpeechDataset, take_inventory
from speechrep.data.folder import write_table
from speechrep.data.inventory import Inventory
from speechrep.data.standardise import LEAST_DEVIATION, speaker_statistics, standardised, statistics
from speechrep.errors import SpeechrepError
from speechrep.nn.hearing import need_of

TEN = Inventory(mean=(10.0, 10.0), std=(2.0, 4.0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 6})


@pytest.fixture
def corpus(made, tmp_path):
    """A copy whose tables may be changed."""
    return shutil.copytree(made, tmp_path / "corpus")


def opened(corpus, need):
    dump = corpus / "dump/logmel/train"
    return SpeechDataset(folder(corpus, "train"), dump, take_inventory(folder(corpus, "train"), dump), (need,))


def test_by_hand():
    matrix = np.array([[1.0, 0.0], [3.0, 8.0]], dtype=np.float32)
    own = statistics([matrix])
    assert [value.tolist() for value in own] == [[2, 4], [1, 4]]
    assert standardised(matrix, own, TEN).tolist() == standardised(matrix, None, TEN).tolist() == [[8, 6], [12, 14]]
    # Of two frames of one utterance and two of another.
    own = statistics([matrix, matrix + 2])
    np.testing.assert_allclose(own, [[3, 5], [2 ** 0.5, 17 ** 0.5]])


def test_what_hardly_varies_is_not_blown_up():
    matrix = np.array([[0.0, 5.0], [0.0, 5.08]], dtype=np.float32)
    made = standardised(matrix, None, TEN)
    np.testing.assert_allclose(made, [[10, 10 - 0.04 / LEAST_DEVIATION], [10, 10 + 0.04 / LEAST_DEVIATION]], rtol=1e-5)


def test_a_channel_is_taken_out():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((50, 20)) * 3 + 1
    other = matrix * rng.uniform(0.5, 2, 20) + rng.standard_normal(20)
    wanted = Inventory(mean=tuple(rng.standard_normal(20)), std=tuple(rng.uniform(0.5, 2, 20)))
    made = [standardised(x, None, wanted) for x in (matrix, other)]
    np.testing.assert_allclose(*made, atol=1e-4)
    np.testing.assert_allclose(statistics(made[:1]), (wanted.mean, wanted.std), atol=1e-5)


@pytest.mark.parametrize("by", ["part", "utterance", "speaker"])
def test_dataset_has_the_parts_statistics_within_each(corpus, by):
    dataset = opened(corpus, need_of(True, by))
    items = {item["utt"]: item["feats"].numpy() for item in map(dataset.__getitem__, range(len(dataset)))}
    groups = {"part": lambda utt: "", "utterance": lambda utt: utt, "speaker": dataset.speakers.get}[by]
    for group in set(map(groups, items)):
        found = statistics(items[utt] for utt in items if groups(utt) == group)
        np.testing.assert_allclose(found, (dataset.inventory.mean, dataset.inventory.std), atol=1e-3)
    # What is not asked for is not done: utterances of a voice differ, and two voices of a part.
    alone = [np.abs(matrix.mean(0) - dataset.inventory.mean).max() for matrix in items.values()]
    assert (max(alone) > 0.05) == (by != "utterance")
    means = [np.concatenate([items[utt] for utt in items if dataset.speakers[utt] == name]).mean(0) for name in ("spk0", "spk1")]
    assert (np.abs(means[0] - means[1]).max() > 0.1) == (by == "part")


def test_statistics_are_kept_until_speakers_change(corpus, monkeypatch):
    train, dump = folder(corpus, "train"), corpus / "dump/logmel/train"
    feats, counted = read_scp(dump / "feats.scp"), []
    monkeypatch.setattr(standardise, "statistics", lambda x: counted.append(0) or statistics(x))
    first = speaker_statistics(train, dump, feats)
    assert sorted(first) == ["spk0", "spk1"] and len(counted) == 2
    again = speaker_statistics(train, dump, feats)
    assert len(counted) == 2 and list(again) == list(first)
    for speaker in first:
        np.testing.assert_array_equal(again[speaker], first[speaker])
    speakers = train.read("utt2spk")
    write_table(train.path / "utt2spk", speakers | {min(speakers): "another"})
    changed = speaker_statistics(folder(corpus, "train"), dump, feats)
    assert sorted(changed) == ["another", "spk0", "spk1"] and len(counted) == 5
    np.testing.assert_array_equal(changed["another"], statistics([feats[min(speakers)]]))


def test_who_has_no_speaker_stands_alone(corpus):
    path = corpus / "data/train/utt2spk"
    speakers = folder(corpus, "train").read("utt2spk")
    alone = min(speakers)
    write_table(path, {utt: speaker for utt, speaker in speakers.items() if utt != alone})
    by_speaker, by_utterance = opened(corpus, "feats:speaker"), opened(corpus, "feats:utterance")
    at = by_speaker.utts.index(alone)
    np.testing.assert_array_equal(by_speaker[at]["feats"], by_utterance[at]["feats"])


def test_one_kind_of_features_alone(corpus):
    train, dump = folder(corpus, "train"), corpus / "dump/logmel/train"
    with pytest.raises(SpeechrepError, match="streams feats, feats:speaker"):
        SpeechDataset(train, dump, take_inventory(train, dump), ("feats", "feats:speaker"))
