"""A recipe's folder for tests of the suite: chords with intents, plain features, an untrained checkpoint, tiny
configurations."""

import json
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from toy_corpus import FEATURES, folder, make_corpus

from speechrep.config import build
from speechrep.data.dataset import take_inventory
from speechrep.data.dump import dump
from speechrep.methods.base import find_method
from speechrep.train import checkpoint

TRAIN = {"steps": 8, "batch_sec": 8, "lr": 0.02, "warmup": 2, "dev_every": 4, "save_every": 2, "log_every": 2,
         "precision": "fp32"}
LOSSES = {"asr": "ctc", "frame_phones": "cross_entropy", "sid": "cross_entropy", "lid": "cross_entropy",
          "intent": "cross_entropy"}


def make_recipe(root: Path) -> Path:
    """data, dump, conf and exp/apc/small-0, which no step was trained; in `root`, which is returned."""
    make_corpus(root, {"train": 20, "dev": 6, "test": 10})
    for part in ("train", "dev", "test"):
        data = folder(root, part)
        texts, speakers = data.read("text"), data.read("utt2spk")
        data.write("intent", {utt: f"{'with' if 'k' in texts[utt] else 'without'}|{speakers[utt]}" for utt in data.utts})
        dump(root / "data" / part, root / "dump/mfcc" / part, replace(FEATURES, kind="mfcc", snip_edges=False), cmvn=True)
    (root / "conf").mkdir()
    for task, loss in LOSSES.items():
        write_conf(root, task, {"task": task, "weights": {loss: 1.0}, "train": TRAIN})
    write_conf(root, "intent_superb", {"task": "intent", "weights": {"cross_entropy": 1.0}, "train": TRAIN})
    write_conf(root, "logmel", {"kind": "logmel"})
    run = root / "exp/apc/small-0"
    run.mkdir(parents=True)
    cls = find_method("apc")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = cls(build(cls.Config, {"dim": 16, "layers": 2, "dropout": 0.0}),
                     take_inventory(folder(root, "train"), root / "dump/logmel/train"))
    checkpoint.save(run / "best.pt", checkpoint.content_of("apc", method, method.state_dict()))
    write_conf(run, "config", {"method": "apc", "train": {"steps": 90, "batch_sec": 20.0}})
    (run / "done.json").write_text(json.dumps({
        "parameters": sum(p.numel() for p in method.parameters()), "train_sec": 12.5,
        "provenance": {"data": {"train": {"utterances": 20, "seconds": 36.0}}}}))
    lines = [{"step": step, "part": part, "reconstruction": 1 / step} for step in (30, 60, 90) for part in ("train", "dev")]
    (run / "log.jsonl").write_text("".join(json.dumps(line | {"loss": line["reconstruction"]}) + "\n" for line in lines))
    return root


def write_conf(root: Path, name: str, values: dict) -> None:
    """A YAML in root/conf, or in `root` itself where it is a run."""
    place = root / "conf" if (root / "conf").is_dir() else root
    (place / f"{name}.yaml").write_text(yaml.safe_dump(values))
