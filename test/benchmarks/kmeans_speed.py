"""Processor time and inertia of k-means here, in scikit-learn and in faiss, on the same frames in one run.

    OMP_NUM_THREADS=1 python test/benchmarks/kmeans_speed.py --frames 300000 --clusters 100 500

Processor time is what other work on the machine disturbs least; with one thread it is also the time by the clock of a
machine left alone. A GPU's rows are by the clock.

Frames of 39 dimensions from 300 overlapping clusters of unequal size, as MFCCs of phones might be. The inertia of all
rows is computed alike, in double precision, over all frames. `pip install faiss-cpu` adds its rows.
"""

import argparse
import time

import numpy as np
import torch

from speechrep.nn import kmeans

DIM, TRUE = 39, 300


def make_frames(count: int, seed: int = 0) -> np.ndarray:
    """Frames [count, 39]."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.standard_normal((TRUE, DIM))
    weights = rng.random(TRUE) ** 2
    labels = rng.choice(TRUE, count, p=weights / weights.sum())
    return (centres[labels] + rng.standard_normal((count, DIM))).astype(np.float32)


def ours(x: np.ndarray, clusters: int, algorithm: str, device: str = "cpu") -> np.ndarray:
    """As `speechrep units` does it, shuffling included."""
    frames = torch.from_numpy(x)

    def stream(number: int):
        order = torch.arange(len(x)) if number < 0 else torch.randperm(
            len(x), generator=torch.Generator().manual_seed(number))
        return (frames[some] for some in order.split(8192))
    return kmeans.fit(stream, clusters, algorithm=algorithm, device=device).centroids.numpy()


def sklearn_minibatch(x: np.ndarray, clusters: int) -> np.ndarray:
    """HuBERT's settings (batches of 10,000, no tolerance) but for 3 inits, as ours, in place of 20."""
    from sklearn.cluster import MiniBatchKMeans
    return MiniBatchKMeans(clusters, batch_size=10_000, n_init=3, max_iter=100, random_state=0).fit(x).cluster_centers_


def sklearn_full(x: np.ndarray, clusters: int) -> np.ndarray:
    """Lloyd's algorithm from one k-means++, 25 iterations."""
    from sklearn.cluster import KMeans
    return KMeans(clusters, n_init=1, max_iter=25, random_state=0).fit(x).cluster_centers_


def with_faiss(x: np.ndarray, clusters: int, every: bool) -> np.ndarray:
    """25 iterations over 256 frames a cluster (its default) or over all."""
    import faiss
    faiss.omp_set_num_threads(torch.get_num_threads())
    more = {"max_points_per_centroid": 10 ** 9} if every else {}
    peer = faiss.Kmeans(x.shape[1], clusters, niter=25, seed=1, **more)
    peer.train(x)
    return peer.centroids


def inertia(x: np.ndarray, centroids: np.ndarray) -> float:
    """Mean squared distance of a frame to the nearest centroid."""
    c = torch.from_numpy(np.asarray(centroids)).double()
    return sum(float(torch.cdist(some.double(), c).min(1).values.square().sum())
               for some in torch.from_numpy(x).split(20_000)) / len(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--clusters", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--rounds", type=int, default=1, help="the best time of so many")
    args = parser.parse_args()
    x = make_frames(args.frames)
    rows = {"speechrep, mini-batch": lambda k: ours(x, k, "minibatch"),
            "speechrep, full": lambda k: ours(x, k, "full"),
            "scikit-learn MiniBatchKMeans": lambda k: sklearn_minibatch(x, k),
            "scikit-learn KMeans, 25 iterations": lambda k: sklearn_full(x, k)}
    try:
        import faiss  # noqa: F401
        rows |= {"faiss, 25 iterations, 256 frames a cluster": lambda k: with_faiss(x, k, False),
                 "faiss, 25 iterations, all frames": lambda k: with_faiss(x, k, True)}
    except ImportError:
        pass
    if torch.cuda.is_available():
        rows |= {f"speechrep, {name}, GPU": lambda k, a=name.replace("-", ""): ours(x, k, a, "cuda")
                 for name in ("mini-batch", "full")}
    print("| " + " | ".join(["", *(f"K={k}: s | inertia" for k in args.clusters)]) + " |")
    print("|---" * (1 + 2 * len(args.clusters)) + "|")
    for name, fit in rows.items():
        cells = []
        for clusters in args.clusters:
            took = []
            for _ in range(args.rounds):
                now = time.perf_counter if name.endswith("GPU") else time.process_time
                start = now()
                centroids = fit(clusters)
                took.append(now() - start)
            cells += [f"{min(took):.1f}", f"{inertia(x, centroids):.3f}"]
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
