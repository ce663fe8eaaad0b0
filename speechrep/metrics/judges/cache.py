"""Answers of judges by what they heard, so that a second scoring of the same sound is free."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from speechrep.files import read_json, remove_leftovers, write_json


class Cache:
    """One small JSON file an answer, named by judge and sound, below `folder`; in memory only where that is None."""

    def __init__(self, folder: str | Path | None = None):
        self.folder = None if folder is None else Path(folder)
        self._known: dict[str, Any] = {}

    def ask(self, judge: str, samples: np.ndarray, answer: Callable[[], Any]) -> Any:
        """What `judge` (name, version and settings) says of samples float32 [T]; `answer()` is called if it is new."""
        key = self._key(judge, samples)
        if not self._find(key):
            self._known[key] = answer()
            if self.folder is not None:
                remove_leftovers(self._path(key).parent, of=key)
                write_json(self._path(key), self._known[key])
        return self._known[key]

    def knows(self, judge: str, samples: np.ndarray) -> bool:
        """Whether `judge` has been asked about these samples."""
        return self._find(self._key(judge, samples))

    def _key(self, judge: str, samples: np.ndarray) -> str:
        sound = hashlib.sha256(np.ascontiguousarray(samples, dtype=np.float32)).hexdigest()
        return hashlib.sha256(f"{judge}\n{sound}".encode()).hexdigest()[:32]

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _find(self, key: str) -> bool:
        if key not in self._known and self.folder is not None and self._path(key).is_file():
            # An answer that cannot be read is asked for again.
            with contextlib.suppress(ValueError):
                self._known[key] = read_json(self._path(key))
        return key in self._known
