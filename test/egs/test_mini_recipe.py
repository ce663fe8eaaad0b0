"""egs/mini/run.sh from nothing to the page, on a corpus of a minute with training of moments; again, which does nothing; and
killed on the way."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from verb_process import contents

from speechrep.data.folder import DataFolder
from speechrep.metrics.score import read_score

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"quick": "steps: 30", "duration": "steps: 10", "asr": "steps: 10", "vocoder": "steps: 10"}
MOMENTS = 10


def recipe(top: Path, *options: str) -> dict:
    """What subprocess wants to run the recipe of a checkout."""
    return {"args": [top / "egs/mini/run.sh", "--speakers", "3", "--texts", "20", "--nj", "1", *options], "cwd": "/",
            "env": dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")}


def run(top: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(**recipe(top, *options), capture_output=True, text=True)


def make_checkout(top: Path) -> None:
    """A checkout whose set-up is this environment, with the steps of every training cut short."""
    shutil.copytree(ROOT / "utils", top / "utils")
    shutil.copytree(ROOT / "egs/mini", top / "egs/mini", ignore=shutil.ignore_patterns("data", "dump", "exp", "downloads"))
    for name, command in {"tools/setup.sh": "true", ".venv/bin/python": f'exec {sys.executable} "$@"',
                          ".venv/bin/speechrep": f'exec {sys.executable} -m speechrep "$@"'}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"#!/bin/bash\n{command}\n")
        (top / name).chmod(0o755)
    for name, steps in SHORT.items():
        path = top / f"egs/mini/conf/{name}.yaml"
        lines = path.read_text().splitlines()
        assert any(line.strip().startswith("steps:") and "sample" not in line for line in lines), path
        path.write_text("\n".join(f"  {steps}" if line.strip().startswith("steps:") else line for line in lines))


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    top = tmp_path_factory.mktemp("mini") / "checkout"
    make_checkout(top)
    return top


@pytest.mark.slow
def test_from_nothing_to_the_page(top):
    pytest.importorskip("espeakng_loader", reason="the corpus is spoken by espeak-ng")
    done = run(top, "--stop-stage", "3")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    mini = top / "egs/mini"
    test = DataFolder(mini / "data/test")
    assert set(test.read("ali.true")) == set(test.utts)
    done = run(top, "--stage", "5")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    results = (mini / "exp/RESULTS.md").read_text()
    for system in ("natural", "ctap-quick-0", "mfcc", "logmel", "random"):
        assert system in results, results
    score = read_score(mini / "exp/representation/mfcc-0/score.json")
    assert 0 < score["metrics"]["phone_probe_error"]["value"] < 100 and score["provenance"]["commit"] is not None
    page = (mini / "exp/report/index.html").read_text()
    assert "<audio" in page and "ctap-quick-0" in page

    before = {path: path.stat().st_mtime_ns for path in (mini / "exp").rglob("best.pt")}
    again = run(top, "--stage", "5", "--stop-stage", "6")
    assert again.returncode == 0, again.stderr[-3000:]
    said = again.stdout + "".join(log.read_text() for log in (mini / "exp/log").glob("*.log"))
    assert said.count("already trained") == len(before) == 7
    assert before == {path: path.stat().st_mtime_ns for path in (mini / "exp").rglob("best.pt")}


def left_in(folder: Path) -> dict[str, bytes]:
    """What every file there says, less when and where; the page shows that of each score, and how long trainings took."""
    files, page = contents(folder), "exp/report/index.html"
    return files | {page: re.sub(rb"<pre>.*?</pre>|<dd>[0-9 min]+ s</dd>", b"", files[page], flags=re.DOTALL)}


def kill_all_in(folder: Path) -> None:
    """kill -9 of every process that works there."""
    found = True
    while found:
        found = False
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if Path(os.readlink(process / "cwd")).is_relative_to(folder):
                    os.kill(int(process.name), signal.SIGKILL)
                    found = True
            except OSError:  # it has ended, or is another user's
                continue
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_at_ten_moments(tmp_path):
    """kill -9 of the recipe with all that it has begun, each time gone on with from the stage where it was: the files of a
    run that nobody disturbed."""
    pytest.importorskip("espeakng_loader", reason="the corpus is spoken by espeak-ng")
    top, log = tmp_path / "checkout", tmp_path / "run.log"
    make_checkout(top)
    began = time.monotonic()
    done = run(top)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    whole, wanted = time.monotonic() - began, left_in(top / "egs/mini")
    # The other has its place, since some files name where they lie.
    top.rename(tmp_path / "quiet")
    make_checkout(top)

    rng, stage, killed = random.Random(0), "0", []
    while len(killed) < MOMENTS:
        with log.open("w") as file:
            process = subprocess.Popen(**recipe(top, "--stage", stage), stdout=file, stderr=subprocess.STDOUT)
            try:
                process.wait(rng.uniform(0, 2 * whole / MOMENTS))
            except subprocess.TimeoutExpired:
                process.kill(), process.wait(), kill_all_in(top)
                begun = re.findall(r"^== stage (\d+)", log.read_text(), re.MULTILINE)
                stage = begun[-1] if begun else stage
                killed.append(stage)
                continue
        assert process.returncode == 0, log.read_text()[-3000:]
        stage = "0"
    done = run(top, "--stage", stage)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    print("killed in the stages", ", ".join(killed))
    assert len(set(killed)) >= 3, killed
    found = left_in(top / "egs/mini")
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
