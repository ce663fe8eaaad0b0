"""What a run says while it goes: a JSON-lines file, TensorBoard, and a progress bar with an estimate."""

import json
from pathlib import Path

from speechrep.files import write_text


class RunLog:
    """Numbers by step into `log.jsonl` and TensorBoard, and a bar on the terminal. Only the first process makes one.

    Lines of steps after `step` are dropped on opening: a run that was killed and goes on leaves one line a step.
    """

    def __init__(self, folder: Path, step: int, steps: int, title: str):
        from torch.utils.tensorboard import SummaryWriter
        from tqdm import tqdm
        self.path = folder / "log.jsonl"
        if self.path.exists():
            kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            write_text(self.path, "".join(line + "\n" for line in kept))
        self.file = open(self.path, "a", encoding="utf-8")
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.bar = tqdm(total=steps, initial=step, desc=title, unit="step", mininterval=2.0, smoothing=0.05)

    def write(self, step: int, part: str, values: dict[str, float]) -> None:
        """One line: the step, the part (train or dev) and named values."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self.file.write(json.dumps({"step": step, "part": part, **rounded}) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(f"{part}/{name}", value, step)

    def advance(self, shown: dict[str, float]) -> None:
        self.bar.update()
        if shown:
            self.bar.set_postfix({name: f"{value:.3g}" for name, value in shown.items()}, refresh=False)

    def close(self) -> None:
        self.bar.close()
        self.board.close()
        self.file.close()


def read_lines(path: Path) -> list[dict]:
    """The lines of a log.jsonl; one that a kill cut off is passed over."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):  # a line cut off by a kill
        return float("inf")
