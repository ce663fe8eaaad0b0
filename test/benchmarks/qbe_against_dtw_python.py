"""Query by example on random frames here and by scipy's distances and dtw-python: the same scores, and each one's time.

  OMP_NUM_THREADS=1 python test/benchmarks/qbe_against_dtw_python.py [--queries 24] [--documents 400] [--dim 39 --dim 768]

Both take turns in one process; times are of the processor, on one thread. The peer does as s3prl's task: distances,
scaling of rows, dtw(..., step_pattern="asymmetric", open_begin=True, open_end=True). It is timed on a sample of pairs.
"""

import argparse
import time

import numpy as np
import torch

from speechrep.metrics.subsequence_dtw import best_path, match


def scaled(query: np.ndarray, document: np.ndarray) -> np.ndarray:
    """The peer's costs."""
    from scipy.spatial.distance import cdist
    costs = np.exp(cdist(query, document, "cosine")) - 1
    low, high = costs.min(1)[:, None], costs.max(1)[:, None]
    return (costs - low) / np.clip(high - low, 1e-9, np.inf)


def theirs(costs: np.ndarray) -> float:
    from dtw import dtw
    return dtw(x=costs, step_pattern="asymmetric", keep_internals=False, distance_only=False, open_begin=True,
               open_end=True).normalizedDistance


def aligned(costs: torch.Tensor) -> float:
    """Seconds that our alignment takes for a pair, alone. costs: [N, M, B]."""
    start = time.process_time()
    best_path(costs)
    return (time.process_time() - start) / costs.shape[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--queries", type=int, default=24)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--sample", type=int, default=60, help="pairs of a round that the peer does")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dim", type=int, action="append")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    lengths = rng.integers(150, 600, args.documents)
    sizes = rng.integers(20, 80, args.queries)
    print(f"{args.queries} queries of {sizes.mean():.0f} frames, {args.documents} documents of {lengths.mean():.0f}\n\n"
          "| ms of a pair | dtw-python, alignment | speechrep, alignment | times as fast | scipy and dtw-python, whole | "
          "speechrep, whole | times as fast | greatest difference |\n|---|---|---|---|---|---|---|---|")
    for dim in args.dim or (39, 256, 768):
        documents = [rng.standard_normal((n, dim), dtype=np.float32) for n in lengths]
        queries = [rng.standard_normal((n, dim), dtype=np.float32) for n in sizes]
        tensors = [[torch.from_numpy(frames) for frames in side] for side in (queries, documents)]
        times, worst = [], 0.0
        costs_of_block = torch.rand(round(sizes.mean()), round(lengths.mean()), 2 ** 15 // round(lengths.mean()))
        for _ in range(args.rounds):
            start = time.process_time()
            found = match(*tensors, lengths.tolist())
            own = (time.process_time() - start) / found.size
            pairs = rng.integers((args.queries, args.documents), size=(args.sample, 2)).tolist()
            start = time.process_time()
            costs = [scaled(queries[q], documents[d]) for q, d in pairs]
            middle = time.process_time()
            wanted = [theirs(cost) for cost in costs]
            end = time.process_time()
            # Pairs differ in size: a cell is what costs.
            share = np.mean([len(queries[q]) * len(documents[d]) for q, d in pairs]) / (sizes.mean() * lengths.mean())
            times.append((own, aligned(costs_of_block), (end - middle) / len(pairs) / share, (end - start) / len(pairs) / share))
            worst = max(worst, max(abs(found[q, d] - value) for (q, d), value in zip(pairs, wanted)))
        own, own_alone, alone, whole = np.median(times, 0) * 1e3
        ratios = np.median([(a / oa, w / o) for o, oa, a, w in times], 0)
        print(f"| {dim} dimensions | {alone:.2f} | {own_alone:.3f} | {ratios[0]:.0f} | {whole:.2f} | {own:.3f} | "
              f"{ratios[1]:.1f} | {worst:.0e} |", flush=True)


if __name__ == "__main__":
    main()
