"""The loop: exact resume, kill and resume, micro-batches and processes that change nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from toy_corpus import make_corpus

from speechrep.errors import SpeechrepError
from speechrep.train.pretrain import pretrain

MODEL = {"kind": "tdnn", "dim": 24, "joint_dim": 16, "prompt_dim": 8, "prompt_frames": 40, "speech_layers": 2,
         "token_layers": 1, "frame_layers": 1, "decoder_layers": 1, "dropout": 0.1}
WEIGHTS = {"contrast": 1.0, "mel_speech": 1.0, "mel_phone": 1.0, "kl": 0.001}
TRAIN = {"steps": 12, "batch_sec": 8, "micro_sec": 100, "lr": 0.003, "warmup": 3, "dev_every": 6, "save_every": 5,
         "log_every": 1, "precision": "fp32", "ema": 0.9}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("toy"), {"train": 24, "dev": 4})


def write_conf(folder: Path, model=None, weights=None, **train) -> Path:
    path = folder / "conf.yaml"
    path.write_text(yaml.safe_dump({"method": "ctap", "model": MODEL | (model or {}), "weights": weights or WEIGHTS,
                                    "train": TRAIN | train}))
    return path


def run(corpus: Path, exp: Path, conf: Path, seed: int = 0) -> dict:
    torch.set_num_threads(1)
    pretrain(conf, corpus / "data/train", corpus / "data/dev", corpus / "dump/logmel", exp, seed, "cpu")
    return torch.load(exp / "last.pt", weights_only=True)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_stopped_run_goes_on_to_the_same_weights(corpus, tmp_path, monkeypatch):
    whole = run(corpus, tmp_path / "whole", write_conf(tmp_path))
    from speechrep.train import loop
    seen = []

    def stop_after_eight(self, flag):
        seen.append(None)
        return len(seen) == 8

    with monkeypatch.context() as patch:
        patch.setattr(loop.World, "any", stop_after_eight)
        with pytest.raises(SpeechrepError, match="stopped at step 8"):
            run(corpus, tmp_path / "cut", write_conf(tmp_path))
    assert torch.load(tmp_path / "cut/last.pt", weights_only=True)["step"] == 8
    cut = run(corpus, tmp_path / "cut", write_conf(tmp_path))
    assert same(whole["model"], cut["model"]) and same(whole["ema"], cut["ema"])
    logs = [[json.loads(line) for line in open(tmp_path / name / "log.jsonl")] for name in ("whole", "cut")]
    assert logs[0] == logs[1] and [line["step"] for line in logs[0] if line["part"] == "train"] == list(range(1, 13))


def test_killed_at_any_moment_it_ends_in_the_same_weights(corpus, tmp_path):
    whole = run(corpus, tmp_path / "whole", write_conf(tmp_path, save_every=2, steps=30))
    command = [sys.executable, "-m", "speechrep", "pretrain", "--conf", str(tmp_path / "conf.yaml"), "--device", "cpu",
               "--train", str(corpus / "data/train"), "--dev", str(corpus / "data/dev"),
               "--dump", str(corpus / "dump/logmel"), "--exp", str(tmp_path / "killed")]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    for wanted in (2, 6, 14):
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        log = tmp_path / "killed/log.jsonl"
        deadline = time.time() + 60
        while time.time() < deadline and process.poll() is None:
            if log.exists() and log.read_text().count('"train"') >= wanted:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed/done.json").exists()
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    killed = torch.load(tmp_path / "killed/last.pt", weights_only=True)
    assert same(whole["model"], killed["model"])
    assert "already trained" in subprocess.run(command, env=env, capture_output=True, text=True).stdout


def test_micro_batches_change_nothing_but_the_losses_that_compare_across_the_batch(corpus, tmp_path):
    exact = {"model": {"dropout": 0.0}, "weights": WEIGHTS | {"contrast": 0.0}, "steps": 6}
    one = run(corpus, tmp_path / "one", write_conf(tmp_path, **exact))
    many = run(corpus, tmp_path / "many", write_conf(tmp_path, **exact, micro_sec=3))
    for key, value in one["model"].items():
        torch.testing.assert_close(value, many["model"][key], atol=2e-5, rtol=1e-3)


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "speechrep"]


@pytest.mark.parametrize("positives, start, more", [("frame", TORCHRUN, []), ("segment", ["speechrep"], ["--processes", "2"])])
def test_two_processes_do_what_one_does(corpus, tmp_path, positives, start, more):
    conf = write_conf(tmp_path, {"dropout": 0.0, "positives": positives}, steps=6)
    one = run(corpus, tmp_path / "one", conf)
    arguments = ["pretrain", "--conf", str(conf), "--device", "cpu", "--train", str(corpus / "data/train"), "--dev",
                 str(corpus / "data/dev"), "--dump", str(corpus / "dump/logmel"), "--exp", str(tmp_path / "two"), *more]
    done = subprocess.run([sys.executable, "-m", *start, *arguments], env=os.environ | {"OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    two = torch.load(tmp_path / "two/last.pt", weights_only=True)
    logs = [[json.loads(line) for line in open(tmp_path / name / "log.jsonl")] for name in ("one", "two")]
    for a, b in zip(*logs, strict=True):
        for key in ("contrast", "mel_speech", "mel_phone"):
            assert a[key] == pytest.approx(b[key], rel=2e-4), (a, b)
    for key, value in one["model"].items():
        torch.testing.assert_close(value, two["model"][key], atol=2e-4, rtol=1e-2)


def test_what_all_processes_find_wrong_is_said_once(corpus, tmp_path):
    done = subprocess.run([sys.executable, "-m", "speechrep", "pretrain", "--processes", "2", "--conf",
                           str(write_conf(tmp_path, weights={"contrast": 1.0})), "--train", str(corpus / "data/train"), "--dev",
                           str(corpus / "data/dev"), "--dump", str(corpus / "dump/logmel"), "--exp", str(tmp_path / "e")],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("exactly the losses of ctap") == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_weights_a_foreign_folder_and_a_bad_gradient_are_refused(corpus, tmp_path):
    with pytest.raises(SpeechrepError, match="exactly the losses of ctap"):
        run(corpus, tmp_path / "a", write_conf(tmp_path, weights={"contrast": 1.0}))
    run(corpus, tmp_path / "b", write_conf(tmp_path, steps=2))
    with pytest.raises(SpeechrepError, match="another configuration or seed"):
        run(corpus, tmp_path / "b", write_conf(tmp_path, steps=3))
    with pytest.raises(SpeechrepError, match="another configuration or seed"):
        run(corpus, tmp_path / "b", write_conf(tmp_path, steps=2), seed=1)
    with pytest.raises(SpeechrepError, match="gradient of phase main is not finite"):
        run(corpus, tmp_path / "c", write_conf(tmp_path, weights=WEIGHTS | {"mel_phone": float("inf")}))
    (tmp_path / "d").mkdir()
    (tmp_path / "d/last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(SpeechrepError, match="not readable as a checkpoint"):
        run(corpus, tmp_path / "d", write_conf(tmp_path))
