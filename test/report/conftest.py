"""A small recipe's folders: data, dump, an untrained CTAP checkpoint, logs, scores and synthesised speech."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

SPEAKERS = ("spk0", "spk1")
METRIC = {"value": 5.4321, "low": 5.1234, "high": 5.6789, "n": 8, "unit": "dB", "better": "lower"}


def write_score(exp: Path, where: str, task: str, system: str, **metrics) -> None:
    from speechrep.metrics.score import write_score as write
    write(exp / where / "score.json", task=task, part="test", system=system, seed=0, metrics=metrics,
          notes=[f"note on {system} <b>"],
          provenance={"command": f"speechrep score {where}", "commit": "0123456789abcdef", "uncommitted_changes": True,
                      "seed": 0, "config": None})


def write_speech(exp: Path, where: str, data, pairs, rate_hz: int = 8000) -> None:
    """A data folder of tones at exp/WHERE/data; pairs: (utt, content, target speaker, source speaker or None)."""
    from speechrep.data.audio import write_wav
    from speechrep.data.folder import write_folder
    texts = data.read("text")
    streams = {name: {} for name in ("wav.scp", "text", "utt2spk", "utt2content", "prompt", "utt2source")}
    for number, (utt, content, target, source) in enumerate(pairs):
        wav = exp / where / "wav" / f"{utt}.wav"
        time = np.arange(rate_hz // 2) / rate_hz
        write_wav(wav, (0.2 * np.sin(2 * np.pi * (200 + 20 * number) * time)).astype(np.float32), rate_hz)
        values = {"wav.scp": str(wav), "text": texts[content], "utt2spk": target, "utt2content": content,
                  "prompt": f"{target}-train000" if target == "spk0" else f"{target}-train001"}
        if source:
            values["utt2source"] = source
        for name, value in values.items():
            streams[name][utt] = value
    write_folder(exp / where / "data", {name: table for name, table in streams.items() if table})


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """Made once; tests take `recipe`, a copy of their own."""
    import torch
    from toy_corpus import folder, make_corpus

    from speechrep.data.dataset import take_inventory
    from speechrep.methods.ctap import Config, Method
    from speechrep.train import checkpoint
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("recipe")
    make_corpus(root, {"train": 8, "test": 8})
    test, exp = folder(root, "test"), root / "exp"
    test.write("ali.true", test.read("ali"))

    run = exp / "ctap" / "quick"
    run.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = Method(Config(kind="tdnn", dim=24, joint_dim=16, prompt_dim=8, prompt_frames=40, speech_layers=1,
                               token_layers=1, frame_layers=1, decoder_layers=1),
                        take_inventory(folder(root, "train"), root / "dump/logmel/train"))
    checkpoint.save(run / "best.pt", checkpoint.content_of("ctap", method, method.state_dict()))
    (run / "config.yaml").write_text("method: ctap\nmodel:\n  kind: tdnn\n  dim: 24\n")
    lines = [{"step": step, "part": "train", "contrast": 5 / step, "kl": 1.0, "lr": 0.001} for step in (1, 2, 3)]
    lines += [{"step": 3, "part": "dev", "contrast": 2.0, "loss": 3.0, "retrieval_speech_to_phone": 0.25}]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "par')
    (run / "done.json").write_text(json.dumps({"dev": {"loss": 3.0}, "parameters": 12345, "train_sec": 61.0,
                                               "provenance": {"seed": 7, "commit": "fedcba9876543210",
                                                              "uncommitted_changes": False,
                                                              "command": "speechrep pretrain --conf conf/quick.yaml"}}))
    (exp / "asr").mkdir()
    (exp / "asr" / "log.jsonl").write_text('{"step": 1, "part": "train", "ctc": 2.5}\n')

    write_score(exp, "ctap/quick/tts/test", "tts", "tts", mcd=METRIC,
                wer={"value": 31.25, "low": None, "high": None, "n": 40, "unit": "%", "better": "lower"})
    write_score(exp, "natural/test", "tts", "natural",
                wer={"value": 12.5, "low": 10.0, "high": 15.0, "n": 40, "unit": "%", "better": "lower"})
    write_score(exp, "ctap/quick/vc/test", "vc", "vc",
                to_target={"value": 0.91, "low": 0.88, "high": 0.94, "n": 40, "unit": "", "better": "higher"})

    utts = test.utts
    speakers = test.read("utt2spk")
    same = [(utt, utt, speakers[utt], None) for utt in utts]
    write_speech(exp, "griffin-lim/vocoded/test", test, same)
    write_speech(exp, "ctap/quick/tts/test", test, same)
    write_speech(exp, "ctap/quick/vc/test", test,
                 [(f"{target}-from-{utt}", utt, target, speakers[utt])
                  for utt in utts for target in SPEAKERS if target != speakers[utt]])
    return root


@pytest.fixture
def recipe(made, tmp_path) -> Path:
    """A copy that a test may change; its tables and scp files still name the audio and arks of the original."""
    root = tmp_path / "recipe"
    shutil.copytree(made, root)
    return root


@pytest.fixture
def report(recipe):
    """Makes the page of `recipe` and returns its text."""
    def make(**options) -> str:
        from speechrep.report.page import make_report
        path = make_report(recipe / "exp", recipe / "data", recipe / "dump", recipe / "exp/report",
                           **({"frames": 120} | options))
        return path.read_text(encoding="utf-8")
    return make


@pytest.fixture(scope="session")
def page(made) -> str:
    """The page of the whole recipe, made once."""
    from speechrep.report.page import make_report
    path = make_report(made / "exp", made / "data", made / "dump", made / "page", title="Toys & <b>tests</b>",
                       frames=120)
    return path.read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are built but not drawn, and the plane is the first two dimensions: for tests of what surrounds them."""
    from speechrep.report import joint_space, plots
    monkeypatch.setattr(plots, "png", lambda figure: b"png")
    monkeypatch.setattr(plots, "svg", lambda figure: b"svg")
    monkeypatch.setattr(joint_space, "to_plane", lambda feats, seed: (feats[:, :2], "two dimensions"))
