"""Checkpoints: tensors and plain values only, so that loading one never runs code from it."""

import errno
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechrep.config import build, plain
from speechrep.data.inventory import Inventory
from speechrep.errors import SpeechrepError
from speechrep.files import atomic_path

FORMAT = "speechrep-1"
FULL_BELOW = 2 ** 20
"""Free bytes of a disk that is full: a rest smaller than what was to be written next stays."""


def save(path: str | Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically; `content` holds tensors and plain values."""
    # Given a path, torch.save writes its name into the file, which would then differ from run to run.
    with atomic_path(path) as tmp, open(tmp, "wb") as file:
        try:
            torch.save({"format": FORMAT, **_unshared(content)}, file)
        except RuntimeError:
            # All that torch says of a full disk is "unexpected pos".
            if shutil.disk_usage(tmp.parent).free < FULL_BELOW:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
            raise


def _unshared(value: Any) -> Any:
    """The same values, each equal string one object and no container twice: a file shows which objects are the same, and
    in a run that was resumed others are than in one that was not."""
    if isinstance(value, dict):
        return {_unshared(key): _unshared(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_unshared(item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return sys.intern(value) if type(value) is str else value


def load(path: str | Path, device: str | torch.device = "cpu", mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint of ours; `mapped` (on the CPU) reads a tensor only when it is used, for as long as it lives.

    A missing, corrupt or foreign file, or one that wants to run code, is a `SpeechrepError`.
    """
    path = Path(path)
    if not path.is_file():
        raise SpeechrepError(f"{path}: no such file", "a checkpoint", "train one first, or check the path")
    try:
        content = torch.load(path, map_location=device, weights_only=True, mmap=mapped or None)
    except Exception as error:  # torch raises half a dozen types for a bad file
        first_line = str(error).partition("\n")[0]
        # Torch advises to load it all the same, which would run what it holds.
        if "load failed" in first_line or "weights_only" in first_line:
            first_line = "it holds more than that"
        raise SpeechrepError(f"{path}: not readable as a checkpoint of tensors and plain values ({first_line})",
                             "a file that speechrep wrote", "copy it again, or train it again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SpeechrepError(f"{path}: a checkpoint of another program", f"the format {FORMAT}",
                             "name a file that `speechrep pretrain` wrote")
    return content


def load_inventory(content: dict[str, Any]) -> Inventory:
    """The inventory stored in a checkpoint."""
    return build(Inventory, content["inventory"], "inventory of the checkpoint")


def rng_state() -> dict[str, Any]:
    """The state of every random generator a step may use, as plain values."""
    numpy_state = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    state = {"torch": torch.get_rng_state(), "python": [version, list(internal), gauss],
             "numpy": [numpy_state[0], torch.from_numpy(numpy_state[1].astype(np.int64)), *numpy_state[2:]]}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Undo everything drawn since `rng_state()`."""
    torch.set_rng_state(state["torch"].cpu())
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def content_of(method_name: str, method: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What every checkpoint of a method says of itself, with `state` as its weights."""
    return {"method": method_name, "config": plain(method.config), "inventory": plain(method.inventory), "model": state,
            **method.extras()}
