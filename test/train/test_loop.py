"""The loop: exact resume, kill and resume, micro-batches and processes that change nothing."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from toy_corpus import make_corpus
from verb_process import finish, kill, start_ranks

from speechrep.config import read_yaml, write_yaml
from speechrep.errors import Diverged, SpeechrepError
from speechrep.files import alone_in
from speechrep.train import checkpoint, loop
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


def trained_in_two(corpus: Path, exp: Path, conf: Path, cut_at: int | None = None) -> dict:
    """Trained by two processes, to the end or until they are killed after `cut_at` lines of the log."""
    logs = [conf.parent / f"rank{rank}.log" for rank in range(2)]
    processes = start_ranks(2, arguments(corpus, exp, conf), corpus, logs)
    if cut_at:
        wait_for_lines(exp, cut_at, processes[0])
        # The second may have ended by itself, once the first no longer answers.
        assert any([kill(process) for process in processes])
    else:
        finish(processes, logs)
    return torch.load(exp / "last.pt", weights_only=True)


def arguments(corpus: Path, exp: Path, conf: Path) -> list:
    return ["pretrain", "--conf", conf, "--device", "cpu", "--train", corpus / "data/train",
            "--dev", corpus / "data/dev", "--dump", corpus / "dump/logmel", "--exp", exp]


def wait_for_lines(exp: Path, wanted: int, process) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.is_alive():
        if (exp / "log.jsonl").exists() and (exp / "log.jsonl").read_text().count('"train"') >= wanted:
            return
        time.sleep(0.01)
    raise AssertionError(f"it never came to {wanted} lines")


def flat(tree, name="") -> dict:
    """The tensors of nested dicts and lists by their path."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    found = {name: tree} if torch.is_tensor(tree) else {}
    for key, value in items:
        found |= flat(value, f"{name}.{key}")
    return found


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
    assert 0 < json.loads((tmp_path / "cut/time.json").read_text())["seconds"] < 1000
    (tmp_path / "cut/time.json").write_text('{"seconds": 1000.0}')
    cut = run(corpus, tmp_path / "cut", write_conf(tmp_path))
    took = [json.loads((tmp_path / name / "done.json").read_text())["train_sec"] for name in ("whole", "cut")]
    assert 0 < took[0] < 1000 < took[1] < 2000
    assert same(whole["model"], cut["model"]) and same(whole["ema"], cut["ema"])
    logs = [[json.loads(line) for line in open(tmp_path / name / "log.jsonl")] for name in ("whole", "cut")]
    assert logs[0] == logs[1] and [line["step"] for line in logs[0] if line["part"] == "train"] == list(range(1, 13))


def test_emulated_bf16_is_not_native(monkeypatch):
    # A GPU of before 2020 computes it in fp32, slower than fp32 itself.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not loop.native_bf16(torch.device("cuda"))


def test_two_do_not_train_in_one_folder(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("speechrep.train.pretrain.alone_in", partial(alone_in, patience_sec=0))
    with alone_in(tmp_path / "exp"):
        with pytest.raises(SpeechrepError, match="exp: another process is at work there"):
            run(corpus, tmp_path / "exp", write_conf(tmp_path))
    assert not list((tmp_path / "exp").iterdir())


def test_micro_batches_change_nothing_but_the_losses_that_compare_across_the_batch(corpus, tmp_path):
    exact = {"model": {"dropout": 0.0}, "weights": WEIGHTS | {"contrast": 0.0}, "steps": 6}
    one = run(corpus, tmp_path / "one", write_conf(tmp_path, **exact))
    many = run(corpus, tmp_path / "many", write_conf(tmp_path, **exact, micro_sec=3))
    # Where a gradient is nothing but rounding, Adam makes steps of it: numbers may differ by a hundredth of all steps.
    for key, value in one["model"].items():
        assert float((many["model"][key] - value).norm()) <= 0.01 * 6 * TRAIN["lr"] * value.numel() ** 0.5, key


@pytest.mark.parametrize("positives, start", [("frame", "ranks"), ("segment", "inside"), ("segment", "torchrun")])
def test_two_processes_do_what_one_does(corpus, tmp_path, positives, start):
    """Started with the variables that torchrun sets, by `--processes`, and by torchrun itself."""
    conf = write_conf(tmp_path, {"dropout": 0.0, "positives": positives}, steps=3 if start == "torchrun" else 6)
    one = run(corpus, tmp_path / "one", conf)
    if start != "ranks":
        command = [sys.executable, "-m", "speechrep", *arguments(corpus, tmp_path / "two", conf), "--processes", "2"]
        if start == "torchrun":
            command[1:2] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
            del command[-2:]
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "2 process(es) on cpu" in done.stdout + done.stderr
        two = torch.load(tmp_path / "two/last.pt", weights_only=True)
    else:
        two = trained_in_two(corpus, tmp_path / "two", conf)
    logs = [[json.loads(line) for line in open(tmp_path / name / "log.jsonl")] for name in ("one", "two")]
    for a, b in zip(*logs, strict=True):
        for key in ("contrast", "mel_speech", "mel_phone"):
            assert a[key] == pytest.approx(b[key], rel=2e-4), (a, b)
    for key, value in one["model"].items():
        torch.testing.assert_close(value, two["model"][key], atol=2e-4, rtol=1e-2)


def test_two_processes_of_which_one_has_no_labelled_utterance(corpus, tmp_path):
    conf = write_conf(tmp_path, {"dropout": 0.0}, steps=6)
    (tmp_path / "few").write_text("spk0-train000\nspk1-train011\n")
    logs = []
    for processes in ("1", "2"):
        exp = tmp_path / processes
        command = [sys.executable, "-m", "speechrep", *arguments(corpus, exp, conf), "--labelled", tmp_path / "few",
                   "--processes", processes]
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        logs.append([json.loads(line) for line in open(exp / "log.jsonl")])
    for a, b in zip(*logs, strict=True):
        assert a["contrast"] == pytest.approx(b["contrast"], rel=2e-4, abs=1e-6), (a, b)
    assert any(line["contrast"] == 0 for line in logs[0]) and any(line["contrast"] > 0 for line in logs[0])


def test_what_all_processes_find_wrong_is_said_once(corpus, tmp_path):
    done = subprocess.run([sys.executable, "-m", "speechrep", "pretrain", "--processes", "2", "--conf",
                           str(write_conf(tmp_path, weights={"contrast": 1.0})), "--train", str(corpus / "data/train"), "--dev",
                           str(corpus / "data/dev"), "--dump", str(corpus / "dump/logmel"), "--exp", str(tmp_path / "e")],
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("exactly the losses of ctap") == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_divided_among_processes_it_does_the_same(corpus, tmp_path):
    """FSDP against DDP: equal weights, moments and moving average in files of one format; several micro-batches, clipped
    gradients."""
    common = {"model": {"dropout": 0.0}, "steps": 4, "micro_sec": 3, "clip_norm": 13.0}
    (tmp_path / "whole").mkdir(), (tmp_path / "divided").mkdir()
    whole = trained_in_two(corpus, tmp_path / "whole/exp", write_conf(tmp_path / "whole", **common))
    divided = trained_in_two(corpus, tmp_path / "divided/exp", write_conf(tmp_path / "divided", **common, shard="full"))
    for part in ("model", "ema", "optimisers"):
        one, two = flat(whole[part]), flat(divided[part])
        assert one.keys() == two.keys() and len(one) > 50
        for key, value in one.items():
            assert type(two[key]) is torch.Tensor
            torch.testing.assert_close(two[key], value, atol=2e-5, rtol=2e-4, msg=lambda text: f"{part}{key}: {text}")
    # What is compared has moved: far more than the tolerance.
    assert (whole["model"]["log_scale"] - whole["ema"]["log_scale"]).abs() > 1e-4
    logs = [[json.loads(line) for line in open(tmp_path / name / "exp/log.jsonl")] for name in ("whole", "divided")]
    for a, b in zip(*logs, strict=True):
        assert a.pop("part") == b.pop("part") and a == pytest.approx(b, rel=1e-4)
    norms = [line["grad_norm_main"] for line in logs[1] if "grad_norm_main" in line]
    assert len(norms) == 4 and min(norms) < common["clip_norm"] < max(norms)
    best = [torch.load(tmp_path / name / "exp/best.pt", weights_only=True) for name in ("whole", "divided")]
    assert best[0]["model"].keys() == best[1]["model"].keys()
    torch.testing.assert_close(best[0]["model"], best[1]["model"], atol=2e-5, rtol=2e-4)


def test_divided_and_killed_it_goes_on_to_the_same_weights(corpus, tmp_path):
    conf = write_conf(tmp_path, steps=8, shard="full", save_every=3)
    whole = trained_in_two(corpus, tmp_path / "whole", conf)
    assert trained_in_two(corpus, tmp_path / "cut", conf, cut_at=4)["step"] < 8
    cut = trained_in_two(corpus, tmp_path / "cut", conf)
    for part in ("model", "ema", "optimisers"):
        assert same(flat(whole[part]), flat(cut[part]))


def test_what_is_divided_block_by_block():
    from torch import nn

    from speechrep.train.shard import blocks
    inner = nn.ModuleList([nn.Linear(2, 2)])
    first, second = nn.Sequential(inner, nn.Linear(2, 2)), nn.Linear(3, 3)
    net = nn.Sequential(nn.Linear(2, 2), nn.ModuleList([first, nn.ModuleList([second, nn.GELU()])]))
    assert blocks(net) == [first, second]


def test_the_best_weights_are_those_of_what_the_method_selects(corpus, tmp_path, monkeypatch):
    """The least, of equal ones that of the least loss, then the first; a run that was stopped knows them."""
    from speechrep.methods import ctap
    from speechrep.train import loop
    values = {2: (0.5, 3.0), 4: (0.4, 2.0), 6: (0.4, 1.0), 8: (0.4, 1.0), 10: (0.6, 0.1), 12: (0.4, 1.5)}
    monkeypatch.setattr(ctap.Method, "selects", "errors")

    def evaluate(self, dev):
        self.dev_values = dict(zip(("errors", "loss"), values[self.step]))
        return self.dev_values

    monkeypatch.setattr(loop._Run, "evaluate", evaluate)
    wanted = {"by": "errors", "value": 0.4, "loss": 1.0, "step": 6}
    conf = write_conf(tmp_path, dev_every=2, save_every=100)
    for name, last in (("whole", 0), ("cut", 9)):
        seen = []
        with monkeypatch.context() as patch:
            if last:
                patch.setattr(loop.World, "any", lambda self, flag: seen.append(None) or len(seen) == last)
                with pytest.raises(SpeechrepError, match="stopped at step 9"):
                    run(corpus, tmp_path / name, conf)
            else:
                run(corpus, tmp_path / name, conf)
        assert run(corpus, tmp_path / name, conf)["best"] == wanted
        best = torch.load(tmp_path / name / "best.pt", weights_only=True)
        assert best["step"] == 6 and best["best"] == wanted
        assert json.loads((tmp_path / name / "done.json").read_text())["best"] == wanted
    content = torch.load(tmp_path / "whole/last.pt", weights_only=True)
    (tmp_path / "whole/done.json").unlink()
    for best, told in ((0.1, "another value"), (wanted | {"by": "loss"}, "loss")):
        torch.save(content | {"best": best}, tmp_path / "whole/last.pt")
        with pytest.raises(SpeechrepError, match=f"chosen by {told}"):
            run(corpus, tmp_path / "whole", conf)


def test_where_targets_move_the_latest_weights_are_kept(corpus, tmp_path, monkeypatch):
    """Whatever the loss says of targets that were easier earlier."""
    from speechrep.methods import ctap, data2vec, mt4ssl
    from speechrep.train import loop
    assert data2vec.Method.selects == mt4ssl.Method.selects == "last"
    monkeypatch.setattr(ctap.Method, "selects", "last")

    def evaluate(self, dev):
        self.dev_values = {"loss": float(self.step)}
        return self.dev_values

    monkeypatch.setattr(loop._Run, "evaluate", evaluate)
    best = run(corpus, tmp_path / "run", write_conf(tmp_path, dev_every=4, save_every=100))["best"]
    assert best["step"] == 12 and best["by"] == "last"
    kept, last = (torch.load(tmp_path / "run" / name, weights_only=True) for name in ("best.pt", "last.pt"))
    assert kept["step"] == 12 and all(torch.equal(kept["model"][key], value) for key, value in last["ema"].items())


def test_a_run_of_an_earlier_version_goes_on(corpus, tmp_path, capsys):
    """Fields that it did not know have their defaults; what it knew and this version does not makes it another."""
    run(corpus, tmp_path / "a", write_conf(tmp_path, steps=2))
    made = read_yaml(tmp_path / "a/config.yaml")
    del made["train"]["shard"], made["model"]["warp"]
    write_yaml(tmp_path / "a/config.yaml", made)
    capsys.readouterr()
    run(corpus, tmp_path / "a", write_conf(tmp_path, steps=2))
    assert "already trained" in capsys.readouterr().out
    content = torch.load(tmp_path / "a/last.pt", weights_only=True)
    del content["config"]["warp"]
    torch.save(content, tmp_path / "a/last.pt")
    (tmp_path / "a/done.json").unlink()
    run(corpus, tmp_path / "a", write_conf(tmp_path, steps=2))
    assert (tmp_path / "a/done.json").is_file()
    made["model"]["forgotten"] = 1
    write_yaml(tmp_path / "a/config.yaml", made)
    with pytest.raises(SpeechrepError, match="model.forgotten was 1, is now None"):
        run(corpus, tmp_path / "a", write_conf(tmp_path, steps=2))


def test_wrong_weights_a_foreign_folder_and_a_bad_gradient_are_refused(corpus, tmp_path):
    with pytest.raises(SpeechrepError, match="exactly the losses of ctap"):
        run(corpus, tmp_path / "a", write_conf(tmp_path, weights={"contrast": 1.0}))
    run(corpus, tmp_path / "b", write_conf(tmp_path, steps=2))
    with pytest.raises(SpeechrepError, match=r"\(train.steps was 2, is now 3\)(?s:.*)--tag NAME"):
        run(corpus, tmp_path / "b", write_conf(tmp_path, steps=3))
    with pytest.raises(SpeechrepError, match=r"another configuration or seed \(seed was 0, is now 1\)"):
        run(corpus, tmp_path / "b", write_conf(tmp_path, steps=2), seed=1)
    run(corpus, tmp_path / "b1", write_conf(tmp_path, steps=2), seed=1)
    assert [checkpoint.load(tmp_path / name / "best.pt")["seed"] for name in ("b", "b1")] == [0, 1]
    with pytest.raises(SpeechrepError, match="gradient of phase main is not finite"):
        run(corpus, tmp_path / "c", write_conf(tmp_path, weights=WEIGHTS | {"mel_phone": float("inf")}))
    (tmp_path / "d").mkdir()
    (tmp_path / "d/last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(SpeechrepError, match="not readable as a checkpoint"):
        run(corpus, tmp_path / "d", write_conf(tmp_path))


def test_a_collapsed_run_stops_and_says_why(corpus, tmp_path):
    """At the evaluation that finds it, with the weights of the step before on disk; a threshold that is met lets it go on."""
    conf = {"method": "vq_wav2vec", "weights": {"contrast": 1.0}, "train": TRAIN | {"ema": 0},
            "model": {"front": "mel", "dim": 16, "aggregator": [2], "groups": 2, "codes": 6, "steps": 3, "negatives": 4,
                      "guard_from": 6}}
    for name, least in (("fine", 1.0), ("stopped", 7.0)):
        write_yaml(tmp_path / f"{name}.yaml", conf | {"model": conf["model"] | {"least_perplexity": least}})
    assert run(corpus, tmp_path / "fine", tmp_path / "fine.yaml")["step"] == 12
    with pytest.raises(Diverged, match="step 6: vq_wav2vec has collapsed: the codebook's perplexity is") as error:
        run(corpus, tmp_path / "stopped", tmp_path / "stopped.yaml")
    assert "train.lr" in error.value.cure and torch.load(tmp_path / "stopped/last.pt", weights_only=True)["step"] == 5
    assert not (tmp_path / "stopped/done.json").exists()


def test_what_moves_by_itself_is_not_averaged_again(corpus, tmp_path):
    small = yaml.safe_load((Path(__file__).parents[1] / "methods/small/vqvae.yaml").read_text())
    path = write_conf(tmp_path, steps=4)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {
        "method": "vqvae", "model": small["model"], "weights": {"reconstruction": 1.0, "commitment": 0.25}}))
    left = run(corpus, tmp_path / "exp", path)
    codebook = [key for key in left["model"] if "quantizer" in key and left["model"][key].is_floating_point()]
    assert codebook and all(torch.equal(left["model"][key], left["ema"][key]) for key in codebook)
    assert any(not torch.equal(left["model"][key], left["ema"][key]) for key in left["model"].keys() - set(codebook))
