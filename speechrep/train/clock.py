"""How long a training took."""

import time
from pathlib import Path

from speechrep.files import read_json, write_json


class Clock:
    """Seconds of a training over all its sessions; of those that were killed, up to their last checkpoint.

    They stand in a file beside the checkpoint, which itself is the same however often a run was interrupted.
    """

    def __init__(self, path: Path):
        self.path, self.before, self.began = path, 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """So far."""
        return self.before + time.monotonic() - self.began

    def resume(self) -> None:
        """Add the sessions before this one."""
        self.before = read_json(self.path)["seconds"] if self.path.is_file() else 0.0

    def save(self) -> None:
        """To be called whenever a checkpoint is written."""
        write_json(self.path, {"seconds": round(self.seconds, 1)})
