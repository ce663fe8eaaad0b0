"""egs/mini/run.sh from nothing to the page, on a corpus of a minute with training of moments; and again, which does nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from speechrep.data.folder import DataFolder
from speechrep.metrics.score import read_score

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"quick": "steps: 30", "duration": "steps: 10", "asr": "steps: 10", "vocoder": "steps: 10"}


def run(top: Path, *options: str) -> subprocess.CompletedProcess:
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    return subprocess.run([top / "egs/mini/run.sh", "--speakers", "3", "--texts", "20", "--nj", "1", *options], cwd="/",
                          env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """A checkout whose set-up is this environment, with the steps of every training cut short."""
    top = tmp_path_factory.mktemp("checkout")
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
