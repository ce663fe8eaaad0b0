import hashlib
import json
import os
import random
import signal
import time
import tracemalloc

import kaldiio
import numpy as np
import pytest
import torch
import torchaudio

import speechrep.data.dump as room
from speechrep.bin import main
from speechrep.config import build, read_yaml
from speechrep.data.alignment import format_ali
from speechrep.data.audio import write_wav
from speechrep.data.dump import dump, dump_config
from speechrep.data.features import FeatureConfig, build_features
from speechrep.data.folder import DataFolder, read_table, write_folder
from speechrep.errors import SpeechrepError

CONFIG = FeatureConfig(rate_hz=8000, hop_samples=80, win_samples=200, n_fft=512, n_mels=20)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    sounds = {f"u{i:02d}": 0.1 * rng.standard_normal(rng.integers(2000, 9000)) for i in range(40)}
    for utt, samples in sounds.items():
        write_wav(tmp_path / "wav" / f"{utt}.wav", samples, 8000)
    return write_folder(tmp_path / "data" / "train", {
        "wav.scp": {utt: str(tmp_path / "wav" / f"{utt}.wav") for utt in sounds},
        "utt2spk": {utt: utt[:2] for utt in sounds}})


@pytest.fixture(autouse=True)
def small_arks(monkeypatch):
    """A second of audio an ark, so that the little folder has 28 of them."""
    monkeypatch.setattr(room, "MIN_ARK_SEC", 1.0)


def digests(path):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(path.iterdir()) if p.is_file()}


def test_dump_holds_the_features_in_order(folder, tmp_path):
    out = tmp_path / "dump"
    assert dump(folder.path, out, CONFIG, cmvn=True)
    feats = kaldiio.load_scp(str(out / "feats.scp"))
    assert list(feats) == folder.utts
    features = build_features(CONFIG)
    frames = dict(line.split() for line in (out / "utt2num_frames").read_text().splitlines())
    for utt in folder.utts:
        # written and read back as 16 bits, so the judge starts from the file
        samples = torch.from_numpy(np.array(wave(folder, utt)))
        assert np.array_equal(feats[utt], features(samples.numpy()))
        assert int(frames[utt]) == len(feats[utt]) == len(samples) // 80
    every = np.concatenate([feats[utt] for utt in folder.utts]).astype(np.float64)
    with np.load(out / "cmvn.npz") as cmvn:
        np.testing.assert_allclose(cmvn["mean"], every.mean(0), rtol=1e-12)
        np.testing.assert_allclose(cmvn["std"], every.std(0), rtol=1e-9)
        assert cmvn["frames"] == len(every)
    assert build(FeatureConfig, read_yaml(out / "feats.yaml")) == dump_config(out) == CONFIG
    assert {p.suffix for p in out.iterdir()} == {".scp", ".ark", ".yaml", ".npz", ".json", ""}
    assert not list(out.glob("feats.*.scp")) and not list(out.glob("feats.*.json"))


def wave(folder, utt):
    import soundfile
    return soundfile.read(folder.read("wav.scp")[utt], dtype="float32")[0]


def test_number_of_jobs_changes_nothing(folder, tmp_path):
    dump(folder.path, tmp_path / "dump", CONFIG, nj=1, cmvn=True)
    first = digests(tmp_path / "dump")
    os.rename(tmp_path / "dump", tmp_path / "other")
    dump(folder.path, tmp_path / "dump", CONFIG, nj=3, cmvn=True)
    assert digests(tmp_path / "dump") == first


def test_again_other_settings_and_redo(folder, tmp_path, capsys):
    out = tmp_path / "dump"
    dump(folder.path, out, CONFIG)
    before = digests(out)
    stamps = {p: p.stat().st_mtime_ns for p in out.iterdir() if p.is_file()}
    assert dump(folder.path, out, CONFIG, cmvn=True) is False
    assert "already there" in capsys.readouterr().err
    assert (out / "cmvn.npz").exists() and {p: p.stat().st_mtime_ns for p in stamps} == stamps
    other = FeatureConfig(rate_hz=8000, hop_samples=80, win_samples=200, n_fft=512, n_mels=30)
    with pytest.raises(SpeechrepError, match="n_mels 20 instead of 30"):
        dump(folder.path, out, other)
    fewer = folder.subset(folder.utts[:30], tmp_path / "data" / "fewer")
    with pytest.raises(SpeechrepError, match="other utterances"):
        dump(fewer.path, out, CONFIG)
    assert digests(out) == before | digests(out) and (out / "cmvn.npz").exists()
    assert dump(fewer.path, out, other, redo=True)
    feats = kaldiio.load_scp(str(out / "feats.scp"))
    assert list(feats) == fewer.utts and feats["u00"].shape[1] == 30 and not (out / "cmvn.npz").exists()
    assert dump(folder.path, out, CONFIG, redo=True) and digests(out) == before


def test_an_unfinished_dump_of_other_settings_starts_anew(folder, tmp_path):
    out = tmp_path / "dump"
    dump(folder.path, out, FeatureConfig(kind="mfcc", rate_hz=8000))
    (out / "feats.scp").unlink()
    dump(folder.path, out, CONFIG)
    assert dump_config(out) == CONFIG and kaldiio.load_scp(str(out / "feats.scp"))["u00"].shape[1] == 20


def test_killed_at_ten_moments_ends_in_the_same_files(folder, tmp_path, monkeypatch):
    """kill -9 at random moments of one dump, each time started again, slowed down so that the moments differ."""
    out = tmp_path / "dump"
    dump(folder.path, out, CONFIG, cmvn=True)
    whole = digests(out)
    os.rename(out, tmp_path / "whole")
    for name in ("write_json", "write_table", "write_text", "write_yaml", "_remove_parts", "_write_cmvn"):
        monkeypatch.setattr(room, name, slowed(getattr(room, name)))
    rng, killed = random.Random(0), 0
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            dump(folder.path, out, CONFIG, cmvn=True)
            os._exit(0)
        time.sleep(rng.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert not (out / "feats.scp").exists() or set(whole) <= {path.name for path in out.iterdir()}
    assert killed >= 5
    dump(folder.path, out, CONFIG, cmvn=True)
    assert digests(out) == whole


def slowed(function):
    def slow(*args, **more):
        time.sleep(0.01)
        return function(*args, **more)
    return slow


def test_durations_sum_to_the_frames_and_follow_the_alignment(folder, tmp_path, capsys):
    out = tmp_path / "dump"
    rng = np.random.default_rng(1)
    aligned = {}
    # The last was rejected by the aligner.
    for utt in folder.utts[:-1]:
        ends = np.sort(rng.uniform(0, folder.seconds[utt], 5)).tolist() + [folder.seconds[utt]]
        aligned[utt] = format_ali(["SIL", "A", "B", "A", "K", "SIL"], ends)
    dump(folder.path, out, CONFIG)
    assert not (out / "durations").exists()
    folder.write("ali", aligned)
    assert not dump(folder.path, out, CONFIG), "the features were there"
    found, frames = (read_table(out / name) for name in ("durations", "utt2num_frames"))
    assert list(found) == folder.utts[:-1]
    for utt, line in found.items():
        counts = [int(word) for word in line.split()]
        assert len(counts) == 6 and min(counts) >= 0 and sum(counts) == int(frames[utt])
    # Worked by hand: a frame has 10 ms, boundaries go to the nearest one.
    utt = folder.utts[0]
    folder.write("ali", aligned | {utt: format_ali(["SIL", "A", "B", "SIL"], [0.031, 0.056, 0.064, folder.seconds[utt]])})
    dump(folder.path, out, CONFIG)
    assert read_table(out / "durations")[utt] == f"3 3 0 {int(frames[utt]) - 6}"
    before = (out / "durations").stat().st_mtime_ns
    dump(folder.path, out, CONFIG)
    assert (out / "durations").stat().st_mtime_ns == before
    whole = digests(out)
    dump(folder.path, out, CONFIG, redo=True)
    assert digests(out) == whole
    folder.write("ali", aligned | {utt: "SIL x"})
    with pytest.raises(SpeechrepError, match=f"train/ali, utterance {utt}: alignment 'SIL x'"):
        dump(folder.path, out, CONFIG)


def test_segments_and_resampling(folder, tmp_path):
    long = np.concatenate([wave(folder, utt) for utt in folder.utts[:5]])
    write_wav(tmp_path / "long.wav", long, 8000)
    cut = write_folder(tmp_path / "data" / "cut", {
        "wav.scp": {"rec": str(tmp_path / "long.wav")},
        "segments": {"rec-a": "rec 0.25 1.00", "rec-b": "rec 1.5 -1"}})
    config = FeatureConfig(kind="fbank", rate_hz=16000, n_mels=40)
    dump(cut.path, tmp_path / "dump", config)
    feats = kaldiio.load_scp(str(tmp_path / "dump" / "feats.scp"))
    up = torchaudio.functional.resample(torch.from_numpy(long[2000:8000]), 8000, 16000)
    assert feats["rec-a"].shape == (1 + (12000 - 400) // 160, 40)
    judge = torchaudio.compliance.kaldi.fbank(up[None] * 32768, num_mel_bins=40).numpy()
    np.testing.assert_allclose(feats["rec-a"], judge, atol=2e-3)
    assert len(feats["rec-b"]) == config.num_frames(2 * (len(long) - 12000))


def test_bad_utterances_are_named_before_the_work(folder, tmp_path):
    write_wav(tmp_path / "wav" / "u07.wav", np.zeros(40), 8000)
    with pytest.raises(SpeechrepError, match="too short for one frame: u07"):
        dump(folder.path, tmp_path / "dump", CONFIG)
    assert not list((tmp_path / "dump").glob("*.ark"))
    (folder.path / "utt2dur").unlink()
    (tmp_path / "wav" / "u07.wav").write_bytes(b"")
    with pytest.raises(SpeechrepError, match="u07: .*u07.wav: an empty file"):
        dump(folder.path, tmp_path / "dump", CONFIG)


def test_a_file_that_broke_since_is_named_and_the_rest_is_kept(folder, tmp_path):
    assert folder.seconds
    path = tmp_path / "wav" / "u30.wav"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(SpeechrepError, match="u30: .*u30.wav: truncated, 100 bytes"):
        dump(folder.path, tmp_path / "dump", CONFIG)
    assert not (tmp_path / "dump" / "feats.scp").exists() and len(list((tmp_path / "dump").glob("*.ark"))) > 10
    path.write_bytes(whole)
    assert dump(folder.path, tmp_path / "dump", CONFIG)


def test_full_disk_is_said_before(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: room.shutil._ntuple_diskusage(10, 9, 1000))
    with pytest.raises(SpeechrepError, match="MB of disk are free"):
        dump(folder.path, tmp_path / "dump", CONFIG)
    assert not list((tmp_path / "dump").glob("*.ark"))


def test_memory_is_flat(tmp_path):
    """Eight times the audio, the same peak: what is held is an utterance, not a corpus or an ark."""
    write_wav(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 8000)

    def peak(count):
        entries = {f"u{i:04d}": str(tmp_path / "a.wav") for i in range(count)}
        data = write_folder(tmp_path / f"data{count}", {"wav.scp": entries})
        dump(data.path, tmp_path / f"warm{count}", CONFIG)
        tracemalloc.start()
        dump(data.path, tmp_path / f"dump{count}", CONFIG)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size, sum(p.stat().st_size for p in (tmp_path / f"dump{count}").glob("*.ark"))

    (small, _), (large, written) = peak(30), peak(240)
    assert written > 3e6
    # about 1.5 kB an utterance of names and paths remain
    assert large - small < 210 * 2000


def test_the_verb(folder, tmp_path, capsys):
    (tmp_path / "fbank.yaml").write_text("kind: fbank\nrate_hz: 8000\nhop_samples: 80\nwin_samples: 200\nn_mels: 40\n")
    out = tmp_path / "dump" / "fbank" / "train"
    command = ["dump", "--conf", str(tmp_path / "fbank.yaml"), str(folder.path), str(out), "--nj", "2", "--cmvn"]
    assert main(command) == 0
    assert "fbank of 40 utterances" in capsys.readouterr().err
    assert json.loads((out / "moments.json").read_text())["frames"] == int(np.load(out / "cmvn.npz")["frames"])
    assert main([*command, "--set", "n_mels=30"]) == 1
    assert main([*command[:3], str(tmp_path / "none"), str(out)]) == 1
    assert main([*command, "--set", "n_mel=30"]) == 1
    assert "did you mean 'n_mels'" in capsys.readouterr().err
    assert DataFolder(folder.path).has("utt2dur")
