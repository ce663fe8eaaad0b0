"""Chords of two speakers with all that the tasks of speakers, emotions and keywords want, and these tasks from training to the
score."""

import json
import shutil

import numpy as np
import torch
import yaml
from toy_corpus import FEATURES, folder, make_corpus

from speechrep.bin import main
from speechrep.data.audio import AudioReader, write_wav
from speechrep.data.dataset import SpeechDataset, take_inventory
from speechrep.data.dump import dump
from speechrep.data.folder import DataFolder, write_folder
from speechrep.data.rttm import write_rttm
from speechrep.data.trials import make_trials, write_trials
from speechrep.metrics.score import read_score
from speechrep.upstream import Upstream

TRAIN = {"steps": 40, "batch_sec": 15, "lr": 0.01, "warmup": 5, "dev_every": 20, "save_every": 40, "precision": "fp32"}
MODELS = {"asv": {"dim": 16, "last_dim": 32, "embedding_dim": 16, "crop_sec": 0.5},
          "sd": {"dim": 24, "chunk_frames": 120, "medians": [1, 11]}, "er": {}, "ks": {}}
LOSSES = {"asv": "am_softmax", "sd": "pit_bce", "er": "cross_entropy", "ks": "cross_entropy"}


def mixtures(root, part):
    """Each utterance of spk0 with one of spk1 that begins in its midst, as data/mix_PART."""
    data = folder(root, part)
    reader, speakers = AudioReader(data), data.read("utt2spk")
    own = [[utt for utt in data.utts if speakers[utt] == name] for name in ("spk0", "spk1")]
    tables, turns = {"wav.scp": {}, "utt2spk": {}}, {}
    for number, (first, second) in enumerate(zip(*own)):
        low, high = (reader.read(utt)[0] for utt in (first, second))
        start = len(low) // 2
        mixed = np.zeros(max(len(low), start + len(high)), np.float32)
        mixed[:len(low)] += low
        mixed[start:start + len(high)] += high
        name = f"mix{number:03d}"
        write_wav(root / "mixed" / part / f"{name}.wav", mixed, 8000)
        tables["wav.scp"][name] = str(root / "mixed" / part / f"{name}.wav")
        tables["utt2spk"][name] = name
        turns[name] = [("spk0", 0.0, len(low) / 8000), ("spk1", start / 8000, (start + len(high)) / 8000)]
    write_folder(root / f"data/mix_{part}", tables)
    write_rttm(root / f"data/mix_{part}/rttm", turns)
    dump(root / f"data/mix_{part}", root / f"dump/logmel/mix_{part}", FEATURES, cmvn=True)


def make_speakers(top):
    """Parts train, dev and test in data/, with dumps, mixtures and the configuration of each task; in `top`, which is returned."""
    torch.set_num_threads(1)
    root = make_corpus(top, {"train": 40, "dev": 10, "test": 12})
    for part in ("train", "dev", "test"):
        data = folder(root, part)
        speakers = data.read("utt2spk")
        data.write("emotion", {utt: {"spk0": "calm", "spk1": "cross"}[speakers[utt]] for utt in data.utts})
        data.write("keyword", {utt: data.read("text")[utt][0] for utt in data.utts})
        data.write("utt2session", {utt: f"ses{number // 2 % 4}" for number, utt in enumerate(data.utts)})
        mixtures(root, part)
    write_trials(root / "data/test/trials", make_trials(folder(root, "test").read("utt2spk"),
                                                        folder(root, "test").read("utt2lang")))
    for task, model in MODELS.items():
        conf = {"task": task, "weights": {LOSSES[task]: 1.0}, "model": model, "train": TRAIN}
        (root / f"{task}.yaml").write_text(yaml.safe_dump(conf))
    return root


def run(*arguments):
    assert main([str(value) for value in arguments]) in (0, None)


def trained(root, task, train="train", dev="dev", more=(), tag=""):
    exp = root / "exp" / f"{task}{tag}"
    run("train", "--conf", root / f"{task}.yaml", "--upstream", "logmel", "--train", root / f"data/{train}", "--dev",
        root / f"data/{dev}", "--dump", root / "dump", "--exp", exp, "--device", "cpu", *more)
    return exp


def decoded(root, task, exp, test="test", more=()):
    run("decode", task, "--checkpoint", exp / "best.pt", "--data", root / f"data/{test}", "--dump", root / "dump",
        "--out", exp / "test", *more)
    return exp / "test"


def scored(out, *folders):
    run("score", "predictions", *(folders or [out]), "--part", "test", "--system", "logmel", "--out", out)
    return read_score(out / "score.json")


def made_of(tmp_path, task, files, config=None):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "made.json").write_text(json.dumps({"task": task, "config": config or {}, "upstream": "x", "labels": [],
                                                    "settled": {}}))
    for name, content in files.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in content))
    return tmp_path


def task_of(root, module, train="train", **values):
    config = module.Config(**values)
    inventory = take_inventory(DataFolder(root / f"data/{train}"), root / f"dump/logmel/{train}")
    data = SpeechDataset(DataFolder(root / f"data/{train}"), root / f"dump/logmel/{train}", inventory,
                         ("feats", *module.Task.needs_of(config)))
    torch.manual_seed(0)
    return module.Task(config, Upstream.open("logmel", inventory), module.Task.labels_of(config, data)).eval(), data


def as_in_the_suite(tmp_path, score):
    """EXP with one score of one system."""
    place = tmp_path / "exp/tasks/logmel-0/TASK/test".replace("TASK", read_score(score)["task"])
    place.mkdir(parents=True)
    shutil.copy(score, place)
    return tmp_path / "exp"
