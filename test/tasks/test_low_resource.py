"""Recognition from some minutes of labelled speech as tasks of the suite: on 36 s of chords, minutes are seconds."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from suite_corpus import TRAIN, make_recipe, write_conf
from toy_corpus import FEATURES, folder

from speechrep.bin import main
from speechrep.config import build, read_yaml
from speechrep.data.dump import dump
from speechrep.data.subset import all_voices
from speechrep.errors import SpeechrepError
from speechrep.files import read_json
from speechrep.metrics.score import read_score
from speechrep.tasks import asr, cached
from speechrep.tasks.base import load_task
from speechrep.tasks.suite import find_jobs
from speechrep.upstream import Upstream

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"asr_18s": {"minutes": 0.3}, "asr_18s_finetuned": {"minutes": 0.3, "finetune": True, "finetune_after": 4},
         "asr_1h": {"minutes": 60}, "asr_1h_finetuned": {"minutes": 60, "finetune": True}}
UPSTREAM = "apc=exp/apc/small-0/best.pt"


@pytest.fixture
def recipe(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "toy")
    monkeypatch.chdir(tmp_path / "toy")
    return tmp_path / "toy"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = make_recipe(tmp_path_factory.mktemp("low"))
    for name, model in SIZES.items():
        write_conf(root, name, {"task": "asr", "weights": {"ctc": 1.0}, "train": TRAIN, "model": {"units": "chars"} | model})
    return root


def test_what_a_corpus_is_large_enough_for(recipe, capsys):
    have = sum(folder(recipe, "train").seconds.values()) / 60
    jobs, reasons = find_jobs(recipe / "data", [recipe / "conf"])
    assert {"asr", "asr_18s", "asr_18s_finetuned"} <= {job.name for job in jobs}
    assert reasons["asr_1h"] == f"no folder {recipe}/data/train_1h; or {recipe}/data/train has only {have:.1f} min"
    assert "asr_1h_finetuned" not in reasons, "it is for those who name it"
    with pytest.raises(SpeechrepError, match="asr_1h_finetuned: .*has only"):
        find_jobs(recipe / "data", [recipe / "conf"], "asr_1h_finetuned")
    assert main(["suite", "tasks"]) == 0
    told = capsys.readouterr()
    assert "asr_18s\n" in told.out and f"not asr_1h: no folder data/train_1h; or data/train has only {have:.1f} min" in told.err


def test_frozen_and_finetuned_by_the_suite(recipe, monkeypatch):
    """The same utterances of both voices each time, from the layers that the whole part's recognition reads."""
    options = ["--upstream", UPSTREAM, "--task", "asr,asr_18s,asr_18s_finetuned"]
    assert main(["suite", "extract", *options]) == 0
    before = sorted(Path("dump/layers").rglob("*.ark"))
    heard = {}
    opened = cached.open_part

    def open_part(task, data, *arguments, **named):
        found = opened(task, data, *arguments, **named)
        if data.name == "train":
            heard.setdefault((task.config.minutes, task.config.finetune), []).append(found.utts)
        return found

    monkeypatch.setattr(cached, "open_part", open_part)
    for exp in ("exp", "again"):
        assert main(["suite", "train", *options, "--exp", exp, "--device", "cpu"]) == 0
        assert main(["suite", "score", *options, "--exp", exp]) == 0
    assert sorted(Path("dump/layers").rglob("*.ark")) == before and before
    data = folder(recipe, "train")
    few = all_voices(data, 0.3)
    assert heard == {(0.0, False): [data.utts] * 2, (0.3, False): [few] * 2, (0.3, True): [few] * 2}
    assert {data.read("utt2spk")[utt] for utt in few} == {"spk0", "spk1"} and 8 < sum(data.seconds[utt] for utt in few) <= 18
    fresh = Upstream.open("exp/apc/small-0/best.pt").state_dict()
    for name, moved in (("asr_18s", False), ("asr_18s_finetuned", True)):
        run = Path("exp/tasks/apc-0") / name
        assert read_json(run / "done.json")["provenance"]["data"]["train"]["utterances"] == len(few)
        weights = load_task(run / "best.pt").upstream.state_dict()
        assert any(not fresh[key].equal(weights[key]) for key in fresh) == moved
        score, again = (read_score(Path(exp) / "tasks/apc-0" / name / "test/score.json") for exp in ("exp", "again"))
        assert score["metrics"]["cer"]["n"] > 10 and score["metrics"] == again["metrics"]
    assert {column["task"] for column in read_json("exp/METHODS.json")["columns"]} == {"asr", *list(SIZES)[:2]}


def test_published_parts_are_taken(recipe):
    """A corpus with data/train_18s, as LibriSpeech's train_10min, trains on all that is there, and little it may be."""
    data = folder(recipe, "train")
    few = data.subset(data.utts[:4], recipe / "data/train_0.3min")
    for kind in ("logmel", "mfcc"):
        dump(few.path, recipe / f"dump/{kind}/{few.name}",
             replace(FEATURES, kind=kind, snip_edges=kind == "logmel" and FEATURES.snip_edges), cmvn=True)
    job = find_jobs(recipe / "data", [recipe / "conf"], "asr_18s")[0][0]
    assert [path.name for path in job.parts] == ["train_0.3min", "dev", "test"]
    options = ["--upstream", f"mfcc,{UPSTREAM}", "--task", "asr_18s"]
    for kind in ("extract", "train", "score"):
        assert main(["suite", kind, *options]) == 0
    for system in ("mfcc-0", "apc-0"):
        found = read_json(f"exp/tasks/{system}/asr_18s/done.json")["provenance"]["data"]
        assert found["train_0.3min"]["utterances"] == 4


def test_names_of_parts():
    named = {10: "train_10min", 60: "train_1h", 600: "train_10h", 90: "train_90min"}
    assert {minutes: asr.Config(minutes=minutes).part for minutes in named} == named
    with pytest.raises(ValueError, match="0 or more"):
        asr.Config(minutes=-1)


@pytest.mark.parametrize("name, minutes", [("10min", 10), ("1h", 60), ("10h", 600)])
def test_configurations_of_the_field(name, minutes):
    """Libri-light's three sizes, frozen and fine-tuned from there on."""
    confs = [read_yaml(ROOT / f"egs/mini/conf/asr_{name}{kind}.yaml") for kind in ("", "_finetuned")]
    frozen, tuned = (build(asr.Config, conf["model"]) for conf in confs)
    assert frozen.minutes == minutes and not frozen.finetune
    assert tuned == replace(frozen, finetune=True, finetune_after=tuned.finetune_after)
    assert 0 < tuned.finetune_after < confs[1]["train"]["steps"]
