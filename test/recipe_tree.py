"""For tests of local/prepare.py: its module, tones in any format, and what every prepared folder must pass."""

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import soundfile
from verb_server import speechrep_at_once

from speechrep.bin import main
from speechrep.data.check import check_folder
from speechrep.data.folder import DataFolder

ROOT = Path(__file__).resolve().parents[1]
EGS = ROOT / "egs"


def load(recipe: str):
    """The module egs/RECIPE/local/prepare.py, which is in no package, with its neighbours importable."""
    local = EGS / recipe / "local"
    spec = importlib.util.spec_from_file_location(f"{recipe}_prepare", local / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(local))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(local))
    return module


def tone(path: Path, seconds: float = 0.4, rate_hz: int = 16000, kind: str = "WAV") -> Path:
    """A quiet tone; `kind`: WAV, FLAC or NIST, whatever the file's name ends in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.2 * np.sin(np.arange(round(seconds * rate_hz)) * 0.1)
    soundfile.write(path, wave.astype(np.float32), rate_hz, format=kind, subtype="PCM_16")
    return path


def write_sound(path: Path, seconds: float = 0.5, rate_hz: int = 16000, channels: int = 1, **options) -> None:
    """A tone of its own, in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitch = 150 + zlib.crc32(path.name.encode()) % 3000
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate_hz)) / rate_hz)
    soundfile.write(path, np.stack([wave] * channels, 1), rate_hz, **options)


def write(path: Path, *lines: str) -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def problems(*folders: Path) -> list[str]:
    """What `speechrep check` would say."""
    return [str(problem) for folder in folders for problem in check_folder(folder).problems]


def folders(data: Path) -> dict[str, DataFolder]:
    """The prepared folders by their paths below `data`; each passes `speechrep check`."""
    found = {path.parent.relative_to(data).as_posix(): DataFolder(path.parent) for path in sorted(data.rglob("wav.scp"))}
    for name, folder in found.items():
        assert problems(folder.path) == [], name
    return found


def tasks_of(recipe: str, data: Path, *options: str) -> list[str]:
    """What `speechrep suite tasks` names for the folders in `data`, with the configurations that utils/evaluate.sh takes."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["suite", "tasks", "--data", str(data), "--conf", str(EGS / recipe / "conf"), "--conf",
                     str(EGS / "mini/conf"), *options]) in (0, None)
    return said.getvalue().split()


def _checkout(recipe: str, top: Path, programs: dict[str, str]) -> Path:
    """egs/RECIPE/run.sh in a checkout below `top`, new or used before, with `programs`: path -> command."""
    for name in ("utils", "egs/mini/conf", f"egs/{recipe}"):
        shutil.copytree(ROOT / name, top / name, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("data", "dump", "exp", "downloads"))
    for name, command in {"tools/setup.sh": "true", **programs}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"#!/bin/bash\n{command}\n")
        (top / name).chmod(0o755)
    return top / "egs" / recipe / "run.sh"


def run_recipe(recipe: str, top: Path, *options: str) -> Path:
    """egs/RECIPE/run.sh in a checkout below `top`, new or used before, whose set-up is this environment; it must succeed.
    Returns its folder."""
    script = _checkout(recipe, top, {".venv/bin/python": f'exec {sys.executable} "$@"',
                                     ".venv/bin/speechrep": f'exec {speechrep_at_once()} "$@"'})
    done = subprocess.run([script, *options], cwd="/", capture_output=True, text=True, timeout=1200,
                          env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return script.parent


def verbs_of_recipe(recipe: str, top: Path, *options: str) -> list[list[str]]:
    """The arguments of every `speechrep` that egs/RECIPE/run.sh calls, none of which does anything."""
    script = _checkout(recipe, top, {".venv/bin/speechrep": f'echo "$*" >>{top}/said'})
    subprocess.run([script, *options], check=True, capture_output=True, timeout=600)
    return [line.split() for line in (top / "said").read_text().splitlines()]
