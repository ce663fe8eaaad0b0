"""Which clips are chosen, and what becomes of them."""

import base64
import io

import numpy as np
import pytest
import soundfile
from toy_corpus import folder

from speechrep.report import collect, listen


@pytest.fixture
def chosen(recipe):
    return listen.choose(folder(recipe, "test"), collect.find_speech(recipe / "exp"), [folder(recipe, "train")])


def test_every_speaker_and_every_pair(chosen):
    assert chosen.columns == ["natural", "griffin-lim/vocoded", "ctap/quick/tts"]
    assert [row.title for row in chosen.rows] == ["spk0", "spk0", "spk1", "spk1"]
    assert all(set(row.cells) == set(chosen.columns) for row in chosen.rows)
    for row in chosen.rows:
        assert len({clip.utt for clip in row.cells.values()}) == 1
        assert row.text == row.cells["natural"].folder.read("text")[row.cells["natural"].utt]
    assert [row.title for row in chosen.pairs] == ["spk0 → spk1", "spk1 → spk0"] and chosen.all_pairs == 2
    first = chosen.pairs[0].cells
    assert first["source"].utt.startswith("spk0-test") and first["target voice"].utt == "spk1-train001"
    assert first["ctap/quick/vc"].utt == f"spk1-from-{first['source'].utt}"


def test_clips_sound_as_the_files_do(chosen):
    chosen.codec = listen.load(chosen.clips())
    assert chosen.codec == "FLAC" and len(chosen.clips()) == 4 * 3 + 2 * 3
    for clip in chosen.clips():
        kind, content = clip.uri.split(",")
        assert kind == "data:audio/flac;base64"
        samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(content)))
        expected, _ = soundfile.read(clip.folder.read("wav.scp")[clip.utt])
        assert rate_hz == 8000 and np.array_equal(samples, expected) and clip.seconds == len(samples) / 8000


def test_above_the_budget_they_are_compressed(chosen):
    chosen.codec = listen.load(chosen.clips(), budget=1000)
    assert chosen.codec == "MP3"
    clip = chosen.rows[0].cells["natural"]
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(clip.uri.split(",")[1])))
    assert clip.uri.startswith("data:audio/mpeg") and np.abs(samples).max() > 0.1


def test_a_long_clip_is_cut(chosen, monkeypatch):
    monkeypatch.setattr(listen, "MAX_CLIP_SEC", 0.25)
    chosen.codec = listen.load(chosen.clips())
    assert {clip.seconds for clip in chosen.clips()} == {0.25}


def test_a_missing_file_is_told(chosen):
    clip = chosen.rows[0].cells["ctap/quick/tts"]
    clip.folder.read("wav.scp")[clip.utt] = "gone.wav"
    chosen.codec = listen.load(chosen.clips())
    assert not clip.uri and "gone.wav" in clip.problem
    assert chosen.rows[0].cells["natural"].uri


def test_many_speakers_are_thinned_evenly(recipe, monkeypatch):
    monkeypatch.setattr(listen, "MAX_PAIRS", 1)
    found = listen.choose(folder(recipe, "test"), collect.find_speech(recipe / "exp"))
    assert len(found.pairs) == 1 and found.all_pairs == 2


def test_nothing_or_only_natural_speech(recipe):
    assert listen.choose(None, []).clips() == []
    only = listen.choose(folder(recipe, "test"), [])
    assert [list(row.cells) for row in only.rows] == [["natural"]] * 4 and only.pairs == []


def test_without_the_natural_folder(recipe):
    found = listen.choose(None, collect.find_speech(recipe / "exp"))
    assert [list(row.cells) for row in found.rows] == [["griffin-lim/vocoded", "ctap/quick/tts"]] * 4
    assert [list(row.cells) for row in found.pairs] == [["ctap/quick/vc"]] * 2
    assert found.pairs[0].text and found.pairs[0].title == "spk0 → spk1"
