"""For tests of recipes of published corpora: short sounds, and a recipe's local/prepare.py as a module."""

import importlib.util
import sys
import zlib
from pathlib import Path

import numpy as np
import soundfile

from speechrep.data.check import check_folder

EGS = Path(__file__).resolve().parents[2] / "egs"


def load_prepare(recipe: str):
    """The module egs/RECIPE/local/prepare.py."""
    path = EGS / recipe / "local/prepare.py"
    spec = importlib.util.spec_from_file_location(f"prepare_{recipe}", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def write_sound(path: Path, seconds: float = 0.5, rate_hz: int = 16000, channels: int = 1,
                **options) -> None:
    """A tone of its own, in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitch = 150 + zlib.crc32(path.name.encode()) % 3000
    tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate_hz)) / rate_hz)
    soundfile.write(path, np.stack([tone] * channels, 1), rate_hz, **options)


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def problems(*folders: Path) -> list[str]:
    """What `speechrep check` would say."""
    return [str(problem) for folder in folders for problem in check_folder(folder).problems]
