"""K-means against scikit-learn, faiss where it is installed, and cases worked by hand."""

import numpy as np
import pytest
import torch

from speechrep.nn import kmeans


def clusters_of(frames=20_000, dim=13, true=60, seed=0):
    """Frames of unequal, overlapping clusters [N, D]."""
    rng = np.random.default_rng(seed)
    centres = 1.5 * rng.standard_normal((true, dim))
    weights = rng.random(true) ** 2
    labels = rng.choice(true, frames, p=weights / weights.sum())
    return (centres[labels] + rng.standard_normal((frames, dim))).astype(np.float32)


def stream_of(x, chunk=1000):
    x = torch.from_numpy(x)

    def stream(number):
        order = torch.arange(len(x)) if number < 0 else torch.randperm(
            len(x), generator=torch.Generator().manual_seed(number))
        return (x[some] for some in order.split(chunk))
    return stream


def inertia(x, centroids):
    """The mean squared distance to the nearest of `centroids`, by definition."""
    return float(((x[:, None].astype(np.float64) - centroids[None]) ** 2).sum(2).min(1).mean())


def test_nearest_is_the_nearest():
    x, c = torch.randn(5000, 7), torch.randn(31, 7)
    ids, distance = kmeans.nearest(x, c)
    wanted = torch.cdist(x.double(), c.double()).square().min(1)
    assert torch.equal(ids, wanted.indices)
    torch.testing.assert_close(distance.double(), wanted.values, atol=1e-4, rtol=1e-4)


def test_one_step_of_lloyd_by_hand():
    x = torch.tensor([[0.0], [1.0], [9.0], [11.0]])
    centroids, history, counts, frames = kmeans.lloyd(lambda: iter([x[:3], x[3:]]), torch.tensor([[1.0], [9.0]]), 1)
    assert centroids.tolist() == [[0.5], [10.0]] and counts.tolist() == [2, 2] and frames == 4
    assert history == [pytest.approx((1 + 0 + 0 + 4) / 4)]


def test_an_empty_cluster_takes_the_farthest_frame():
    x = torch.tensor([[0.0], [1.0], [2.0], [30.0]])
    centroids, _, _, _ = kmeans.lloyd(lambda: iter([x]), torch.tensor([[1.0], [-500.0]]), 1)
    assert centroids.tolist() == [[8.25], [30.0]]
    centroids, history, counts, _ = kmeans.lloyd(lambda: iter([x]), torch.tensor([[1.0], [-500.0]]), 20)
    assert sorted(centroids.flatten().tolist()) == [1.0, 30.0] and sorted(counts.tolist()) == [1, 3]


def test_a_mini_batch_by_hand():
    # The centroid 0 stands for 2 frames and gets 2 of mean 3: (2 * 0 + 2 * 3) / 4; the other gets 1 frame of 10.
    centroids, seen = kmeans.minibatch(lambda number: iter([torch.tensor([[2.0], [4.0], [10.0]])]),
                                       torch.tensor([[0.0], [9.0]]), torch.tensor([2, 3]), 1, 100)
    assert centroids.flatten().tolist() == [1.5, 9.25] and seen == 3


def test_batches_are_cut_and_joined():
    chunks = [torch.arange(3.0)[:, None], torch.arange(3, 10.0)[:, None], torch.arange(10, 11.0)[:, None]]
    found = list(kmeans.gather_batches(iter(chunks), 4))
    assert [len(batch) for batch in found] == [4, 4, 3] and torch.cat(found).flatten().tolist() == list(range(11))


def test_the_sample_is_drawn_evenly():
    hits = torch.zeros(100)
    for seed in range(300):
        chunks = (torch.arange(start, start + 10.0)[:, None] for start in range(0, 100, 10))
        sample, frames = kmeans.draw_sample(chunks, 20, torch.Generator().manual_seed(seed))
        assert frames == 100 and len(set(sample.flatten().tolist())) == 20
        hits[sample.flatten().long()] += 1
    # Binomial with mean 60 and deviation 6.9.
    assert hits.min() > 30 and hits.max() < 90 and abs(float(hits[:50].mean()) - 60) < 3


def test_plus_plus_finds_far_groups():
    x = torch.cat([torch.randn(400, 2), torch.randn(5, 2) + 100, torch.randn(5, 2) - 100])
    for seed in range(10):
        chosen = kmeans.plus_plus(x, 3, torch.Generator().manual_seed(seed))
        assert sorted(chosen.mean(1).div(50).round().tolist()) == [-2, 0, 2]


@pytest.mark.parametrize("algorithm, clusters", [("minibatch", 20), ("minibatch", 100), ("full", 20), ("full", 100)])
def test_inertia_is_as_good_as_sklearns(algorithm, clusters):
    from sklearn.cluster import KMeans, MiniBatchKMeans
    x = clusters_of()
    peer = KMeans(clusters, n_init=1, random_state=0) if algorithm == "full" else MiniBatchKMeans(
        clusters, batch_size=2000, n_init=3, random_state=0)
    theirs = inertia(x, peer.fit(x).cluster_centers_)
    fitted = kmeans.fit(stream_of(x), clusters, algorithm=algorithm, batch_frames=2000)
    ours = inertia(x, fitted.centroids.numpy())
    assert ours < 1.01 * theirs
    if algorithm == "full":
        assert fitted.inertia == pytest.approx(ours, rel=2e-3) and int(fitted.counts.sum()) == len(x)
        assert all(b <= a for a, b in zip(fitted.history, fitted.history[1:]))


def test_inertia_is_as_good_as_faiss():
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    x = clusters_of()
    peer = faiss.Kmeans(x.shape[1], 100, niter=25, seed=0, max_points_per_centroid=10 ** 9)
    peer.train(x)
    theirs = inertia(x, peer.centroids)
    for algorithm in ("minibatch", "full"):
        assert inertia(x, kmeans.fit(stream_of(x), 100, algorithm=algorithm).centroids.numpy()) < 1.01 * theirs


def test_a_fit_is_a_function_of_its_seed():
    x = clusters_of(3000)
    fits = [kmeans.fit(stream_of(x), 10, seed=seed).centroids for seed in (0, 0, 1)]
    assert torch.equal(fits[0], fits[1]) and not torch.equal(fits[0], fits[2])


def test_fewer_frames_than_clusters():
    with pytest.raises(ValueError, match="5 frames for 6 clusters"):
        kmeans.fit(stream_of(clusters_of(5)), 6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_inertia():
    x = clusters_of()
    found = [inertia(x, kmeans.fit(stream_of(x), 50, device=device).centroids.numpy()) for device in ("cpu", "cuda")]
    assert found[1] == pytest.approx(found[0], rel=0.01)
