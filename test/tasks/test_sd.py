"""Diarisation: from training to score.json, on chords."""

import json

import numpy as np
import pytest
import torch
from speaker_corpus import as_in_the_suite, decoded, made_of, make_speakers, scored, task_of, trained

from speechrep.data.dataset import SpeechDataset, collate, take_inventory
from speechrep.data.folder import DataFolder, read_table, write_table
from speechrep.data.rttm import read_turns
from speechrep.errors import SpeechrepError
from speechrep.report.methods import collect_methods
from speechrep.report.methods_table import methods_markdown
from speechrep.tasks import sd
from speechrep.tasks.base import load_task
from speechrep.tasks.predict import score_predictions


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_speakers(tmp_path_factory.mktemp("speakers"))


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
