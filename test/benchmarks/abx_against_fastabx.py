"""ABX of random tokens here and by fastabx (which needs Python 3.12): the same errors, and each one's time on one core.

  python test/benchmarks/abx_against_fastabx.py --python PYTHON_WITH_FASTABX [--items 20000] [--dim 39]

Both take the same items and frames from a file; the peer runs as a process of its own, and the best of three counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MODES = [(False, True), (False, False), (True, True), (True, False)]
"""(across speakers, within context)."""


def make(count: int, dim: int, distance: str, seed: int = 5, speakers: int = 4, contexts: int = 6, phones: int = 5):
    """Labels [count, 3] (phone, context, speaker), lengths [count], frames [F, dim] with a little to tell phones by."""
    rng = np.random.default_rng(seed)
    labels = rng.integers((phones, contexts, speakers), size=(count, 3))
    lengths = rng.integers(1, 9, count)
    frames = rng.standard_normal((lengths.sum(), dim)) + 0.3 * np.repeat(labels[:, 0], lengths)[:, None]
    if distance == "kl_symmetric":
        frames = np.exp(frames) / np.exp(frames).sum(1, keepdims=True)
    if distance == "identical":
        frames = np.round(0.7 * frames[:, :1])
    return labels, lengths, frames.astype(np.float32)


def ours(labels, lengths, frames, distance: str, across: bool, in_context: bool) -> tuple[float, int]:
    import torch

    from speechrep.metrics.abx import Item, abx, make_cells
    ends = np.cumsum(lengths).tolist()
    items = [Item(f"p{phone}", f"c{context}", f"s{speaker}", (end - length, end))
             for (phone, context, speaker), length, end in zip(labels.tolist(), lengths.tolist(), ends)]
    result = abx(torch.from_numpy(frames), items, make_cells(items, across, in_context, None, None), distance)
    return result.error, result.triplets


def theirs(labels, lengths, frames, distance: str, across: bool, in_context: bool) -> tuple[float, int]:
    import polars
    import torch
    from fastabx import Score, Task
    from fastabx.accessor import InMemoryAccessor
    from fastabx.dataset import Dataset
    ends = np.cumsum(lengths).tolist()
    spans = {i: (end - length, end) for i, (length, end) in enumerate(zip(lengths.tolist(), ends))}
    columns = dict(zip(("phone", "context", "speaker"), labels.T))
    data = Dataset(labels=polars.DataFrame(columns),
                   accessor=InMemoryAccessor(spans, torch.from_numpy(frames.copy()), torch.device("cpu")))
    by = (["context"] if in_context else []) + ([] if across else ["speaker"])
    task = Task(data, on="phone", by=by or None, across=["speaker"] if across else None)
    score = Score(task, distance)
    return score.collapse(levels=(["context"] if in_context else []) + ["speaker"]), int(score.cells["size"].sum())


def timed(function, *arguments) -> tuple[float, int, float]:
    import torch
    torch.set_num_threads(1)
    best = np.inf
    for _ in range(3):
        # The processor's time of this process: others on the machine do not count.
        start = time.process_time()
        error, triplets = function(*arguments)
        best = min(best, time.process_time() - start)
    return error, triplets, best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--python", help="a Python that has fastabx")
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--dim", type=int, default=7)
    parser.add_argument("--distance", action="append")
    parser.add_argument("--contexts", type=int, default=6)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        data = np.load(args.peer)
        rows = [timed(theirs, data["labels"], data["lengths"], data["frames"], str(data["distance"]), *mode)
                for mode in MODES if args.items <= 1000 or mode[1]]
        print(json.dumps(rows))
        return
    for distance in args.distance or ("angular", "euclidean", "kl_symmetric", "identical"):
        labels, lengths, frames = make(args.items, args.dim, distance, contexts=args.contexts)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.npz"
            np.savez(path, labels=labels, lengths=lengths, frames=frames, distance=distance)
            done = subprocess.run([args.python or sys.executable, __file__, "--peer", path, "--items", str(args.items)],
                                  capture_output=True, text=True, check=True)
        peers = json.loads(done.stdout.splitlines()[-1])
        modes = [mode for mode in MODES if args.items <= 1000 or mode[1]]
        for mode, (error, triplets, seconds) in zip(modes, peers, strict=True):
            own, own_triplets, own_seconds = timed(ours, labels, lengths, frames, distance, *mode)
            assert own_triplets == triplets and abs(own - error) < 1e-6, (distance, mode, own, error)
            where = f"{'across' if mode[0] else 'within'} speaker, {'within' if mode[1] else 'any'} context"
            print(f"{distance:<13}{where:<32}"
                  f"{error:.7f} {own:.7f} of {triplets}; {seconds:.2f} s {own_seconds:.2f} s, "
                  f"{seconds / own_seconds:.2f} x", flush=True)


if __name__ == "__main__":
    main()
