"""Silences cut as SUPERB's reference cuts them: what remains, of whom, and what is refused."""

import shutil

import numpy as np
import pytest

from speechrep.data import trimmed
from speechrep.data.audio import read_wav, write_wav
from speechrep.data.check import check_folder
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.lists import read_list
from speechrep.errors import SpeechrepError

RATE_HZ = 16000
needs_sox = pytest.mark.skipif(not shutil.which("sox"), reason="sox is not installed")


def tone(seconds, peak):
    return (peak * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * RATE_HZ), np.float32)


SOUNDS = {"a-long": np.concatenate([silence(0.3), tone(1.5, 0.5), silence(0.6), tone(1.0, 0.25), silence(0.4)]),
          "a-short": np.concatenate([tone(1.5, 0.5), silence(1.0)]),
          "b-long": tone(2.5, 0.1)}


@pytest.fixture
def folder(tmp_path):
    for utt, samples in SOUNDS.items():
        write_wav(tmp_path / f"sound/{utt}.wav", samples, RATE_HZ)
    streams = {"wav.scp": {utt: str(tmp_path / f"sound/{utt}.wav") for utt in SOUNDS}, "utt2spk": {utt: utt[0] for utt in SOUNDS},
               "text": dict.fromkeys(SOUNDS, "so"), "ali": dict.fromkeys(SOUNDS, "SIL 0.3 S 1.5"),
               "units.mfcc": dict.fromkeys(SOUNDS, "1 2"), "spk2gender": {"a": "f", "b": "m"}}
    return write_folder(tmp_path / "source/part", streams, {"trials": [("a-long", "b-long", "nontarget")]})


@needs_sox
def test_what_is_cut():
    left = trimmed.without_silence(SOUNDS["a-long"], RATE_HZ)
    # Each end of a stretch keeps at most a window of 20 ms.
    assert 2.5 <= len(left) / RATE_HZ <= 2.5 + 2 * 0.02
    assert np.abs(left).max() == pytest.approx(0.5 * 10 ** (-3 / 20), rel=1e-3)
    pause = trimmed.without_silence(np.concatenate([tone(0.5, 0.5), silence(0.05), tone(0.5, 0.5)]), RATE_HZ)
    assert len(pause) / RATE_HZ == pytest.approx(1.05, abs=0.02), "a pause of less than a tenth of a second stays"
    # An RMS of a thousandth, 3 dB softer: a peak of 0.001 * sqrt(2) / 0.708 = 0.002.
    assert len(trimmed.without_silence(tone(1, 0.0018), RATE_HZ)) == 0
    assert len(trimmed.without_silence(tone(1, 0.0022), RATE_HZ)) > 0.95 * RATE_HZ


@needs_sox
def test_a_folder(folder, tmp_path):
    made = trimmed.trim(folder, tmp_path / "out/part", above_sec=2.0)
    assert made.utts == ["a-long", "b-long"]
    assert (made.path / "skipped.tsv").read_text().startswith("a-short\t1.5")
    assert made.streams() == ["spk2gender", "spk2utt", "text", "utt2dur", "utt2spk", "wav.scp"], "nothing that says when"
    assert read_list(made.path / "trials") == [("a-long", "b-long", "nontarget")]
    samples, rate_hz = read_wav(made.read("wav.scp")["a-long"])
    assert rate_hz == RATE_HZ and made.seconds["a-long"] == pytest.approx(len(samples) / rate_hz, abs=1e-6)
    assert np.abs(samples - trimmed.without_silence(SOUNDS["a-long"], RATE_HZ)).max() < 1e-4
    assert check_folder(made.path).problems == []


@needs_sox
def test_what_is_there_is_kept_and_what_changed_made_again(folder, tmp_path, monkeypatch):
    out = tmp_path / "out/part"
    first = trimmed.trim(folder, out).read("wav.scp")
    before = {utt: open(path, "rb").read() for utt, path in first.items()}
    heard = []
    cut = trimmed.without_silence
    monkeypatch.setattr(trimmed, "without_silence", lambda samples, rate_hz: heard.append(len(samples)) or cut(samples, rate_hz))
    (out.parent / "wav/part/b-long.wav").unlink()
    shutil.rmtree(out)
    assert {utt: open(path, "rb").read() for utt, path in trimmed.trim(folder, out).read("wav.scp").items()} == before
    assert heard == [len(SOUNDS["b-long"])]
    write_wav(tmp_path / "sound/another.wav", tone(3, 0.5), RATE_HZ)
    folder.write("wav.scp", folder.read("wav.scp") | {"b-long": str(tmp_path / "sound/another.wav")})
    assert trimmed.trim(DataFolder(folder.path), out).seconds["b-long"] == pytest.approx(3, abs=0.03)
    assert len(heard) == 1 + len(SOUNDS)


@needs_sox
@pytest.mark.parametrize("above_sec, message", [(2.505, "trials names 1 utterances .* such as 'b-long'"), (9.0, "more than 9 s")])
def test_what_would_be_lost_is_refused(folder, tmp_path, above_sec, message):
    with pytest.raises(SpeechrepError, match=message):
        trimmed.trim(folder, tmp_path / "out/part", above_sec)
    assert not (tmp_path / "out/part").exists()


def test_without_sox(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SpeechrepError, match="no program 'sox'"):
        trimmed.trim(folder, tmp_path / "out/part")
