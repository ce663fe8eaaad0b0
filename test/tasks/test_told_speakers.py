"""Upstreams of log-mel that is standardised by speaker: what tells speakers refuses them, all else stands on them."""

import shutil

import numpy as np
import pytest
import torch
from suite_corpus import make_recipe
from toy_corpus import folder

from speechrep.bin import main
from speechrep.data.dataset import take_inventory
from speechrep.data.folder import write_table
from speechrep.data.standardise import statistics
from speechrep.errors import SpeechrepError
from speechrep.extract import extract, layer_folder, open_dataset, open_upstream
from speechrep.methods import apc
from speechrep.tasks.base import find_task, task_names
from speechrep.tasks.own_speech import one_recording
from speechrep.tasks.train import train_task
from speechrep.train import checkpoint
from speechrep.upstream import knows_speakers

TOLD = "exp/told/small-0/best.pt"
WHY = "it hears log-mel that is standardised by speaker, so it is told who speaks"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.set_num_threads(1)
    root = make_recipe(tmp_path_factory.mktemp("told"))
    torch.manual_seed(0)
    method = apc.Method(apc.Config(dim=16, layers=1, standardise_by="speaker"),
                        take_inventory(folder(root, "train"), root / "dump/logmel/train"))
    checkpoint.save(root / TOLD, checkpoint.content_of("apc", method, method.state_dict()))
    return root


@pytest.fixture
def recipe(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_who_is_told(recipe):
    assert knows_speakers(TOLD) and knows_speakers(f"mean:random:{TOLD}")
    assert not any(map(knows_speakers, ("mfcc", "mean:logmel", "exp/apc/small-0/best.pt")))
    assert {name for name in task_names() if find_task(name).tells_speakers} == {"asv", "sid"}


def test_sid_refuses(recipe, tmp_path):
    with pytest.raises(SpeechrepError, match=f"{TOLD} for sid: {WHY}"):
        train_task(recipe / "conf/sid.yaml", TOLD, recipe / "data/train", recipe / "data/dev", recipe / "dump", tmp_path,
                   device="cpu")


def test_the_suite_leaves_sid_out_and_scores_the_rest(recipe, tmp_path, capsys):
    options = "--task", "sid,abx", "--exp", str(tmp_path / "exp"), "--upstream", f"told={TOLD},mfcc", "--set", "train.steps=4"
    assert main(["suite", "train", *options, "--device", "cpu"]) in (0, None)
    assert f"not sid of told: {WHY}" in capsys.readouterr().err.splitlines()
    assert main(["suite", "score", *options]) in (0, None)
    found = {path.parent.relative_to(tmp_path / "exp/tasks").as_posix() for path in (tmp_path / "exp").rglob("score.json")}
    assert found == {"told-0/abx", "mfcc-0/sid/test", "mfcc-0/abx"}


def test_a_recording_stands_alone(recipe):
    """Its frames have the training part's statistics; of an upstream that wants no such thing they are as they are."""
    train, test = folder(recipe, "train"), folder(recipe, "test")
    told, plain = (open_upstream(spec, train, recipe / "dump") for spec in (TOLD, "exp/apc/small-0/best.pt"))
    path = test.read("wav.scp")[test.utts[0]]
    feats = {upstream: one_recording(path, upstream)["feats"][0].numpy() for upstream in (told, plain)}
    np.testing.assert_allclose(statistics([feats[told]]), (told.inventory.mean, told.inventory.std), atol=1e-3)
    assert np.abs(feats[plain].mean(0) - plain.inventory.mean).max() > 0.1


def test_kept_layers_follow_the_speakers(recipe, tmp_path):
    shutil.copytree(recipe / "data/test", tmp_path / "data/test")
    shutil.copytree(recipe / "dump/logmel", tmp_path / "dump/logmel")
    train, test, dump, cache = folder(recipe, "train"), folder(tmp_path, "test"), tmp_path / "dump", tmp_path / "cache"
    speakers = test.read("utt2spk")
    places, frames = [], []
    for table in (speakers, dict.fromkeys(speakers, "one")):
        write_table(tmp_path / "data/test/utt2spk", table)
        test = folder(tmp_path, "test")
        upstream = open_upstream(TOLD, train, dump)
        places.append(layer_folder(cache, upstream, test, train, dump, 0))
        frames.append(extract(TOLD, test, train, dump, cache, [0])[0])
        dataset = open_dataset(upstream, test, dump)
        item = dataset[0]
        with torch.no_grad():
            wanted = upstream.layers({"feats": item["feats"][None], "feats_lengths": torch.tensor([len(item["feats"])])})[0][0][0]
        np.testing.assert_allclose(frames[-1][item["utt"]], wanted, atol=1e-4)
    assert places[0] != places[1] and (places[0] / "feats.scp").is_file()
    assert np.abs(frames[0][item["utt"]] - frames[1][item["utt"]]).max() > 0.01
    plain = open_upstream("exp/apc/small-0/best.pt", train, dump)
    kept = layer_folder(cache, plain, test, train, dump, 0)
    write_table(tmp_path / "data/test/utt2spk", speakers)
    assert layer_folder(cache, plain, folder(tmp_path, "test"), train, dump, 0) == kept
