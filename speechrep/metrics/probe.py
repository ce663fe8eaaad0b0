"""Linear probes: how well one matrix tells phones or speakers from frames.

Multinomial logistic regression with the same fixed budget for every representation: inputs standardised on the training
part, L-BFGS from zero, the L2 penalty chosen on held-out training utterances.
"""

from dataclasses import dataclass

import numpy as np
import torch

from speechrep.metrics.bootstrap import ratio_interval

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
ITERATIONS = 100
SEARCH_ITEMS = 12_000
"""The penalty is chosen on this many training items, which takes a quarter of the time of all."""


@dataclass(frozen=True)
class ProbeResult:
    """`error` is the share of test items labelled wrongly, with its bootstrap interval by group; `chance` is the error
    of always saying the most frequent training label; `penalty` the one that was chosen; `wrong` [n] the test items."""

    error: float
    low: float
    high: float
    chance: float
    penalty: float
    classes: int
    n: int
    wrong: np.ndarray


def fit(x: torch.Tensor, y: torch.Tensor, classes: int, penalty: float, iterations: int = ITERATIONS
        ) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [D, classes] and biases [classes] that minimise mean cross-entropy + penalty / 2 * |weights|^2.

    x: [n, D] float; y: [n] class ids. scikit-learn's LogisticRegression minimises the same with C = 1 / (penalty * n).
    """
    weights = torch.zeros(x.shape[1], classes, dtype=x.dtype, requires_grad=True)
    biases = torch.zeros(classes, dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, biases], max_iter=iterations, history_size=10, tolerance_grad=1e-6,
                                  tolerance_change=1e-9, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weights + biases, y) + penalty / 2 * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach(), biases.detach()


def probe_error(train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray, *,
                train_groups: np.ndarray | None = None, test_groups: np.ndarray | None = None,
                penalties: tuple[float, ...] = PENALTIES, max_train: int = 40000, seed: int = 0) -> ProbeResult:
    """Error of a linear probe on the test items.

    train_x [n, D], test_x [m, D]: frames (or utterance vectors). train_y [n], test_y [m]: labels of any kind that numpy
    can sort; test labels unknown in training count as errors. train_groups, test_groups: the utterance of each item;
    held-out utterances (one in ten) choose the penalty by a fit to `SEARCH_ITEMS` of the others, and the interval draws
    utterances; without groups each item is its own. At most `max_train` training items are used, drawn by `seed`. Raises
    ValueError for fewer than two training labels or frames that are not finite.
    """
    train_x, test_x = np.asarray(train_x, dtype=np.float32), np.asarray(test_x, dtype=np.float32)
    train_y, test_y = np.asarray(train_y), np.asarray(test_y)
    if not np.isfinite(train_x).all() or not np.isfinite(test_x).all():
        raise ValueError("features that are not finite")
    groups = np.arange(len(train_y)) if train_groups is None else np.unique(train_groups, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    if len(train_y) > max_train:
        kept = np.sort(rng.choice(len(train_y), max_train, replace=False))
        train_x, train_y, groups = train_x[kept], train_y[kept], groups[kept]
    labels, counts = np.unique(train_y, return_counts=True)
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} label in training, wanted two or more")
    y = torch.from_numpy(np.searchsorted(labels, train_y))
    mean, std = train_x.mean(0), train_x.std(0)
    std = np.where(std > 1e-8, std, 1.0)
    x, test = torch.from_numpy((train_x - mean) / std), torch.from_numpy((test_x - mean) / std)

    chosen = penalties[0]
    if len(penalties) > 1:
        names = rng.permutation(np.unique(groups))
        held = torch.from_numpy(np.isin(groups, names[:max(1, len(names) // 10)]))
        rest = torch.nonzero(~held)[:, 0]
        rest = rest[::max(1, len(rest) // SEARCH_ITEMS)]
        wrong = []
        for penalty in penalties:
            weights, biases = fit(x[rest], y[rest], len(labels), penalty)
            wrong.append(int(((x[held] @ weights + biases).argmax(1) != y[held]).sum()))
        chosen = penalties[int(np.argmin(wrong))]
    weights, biases = fit(x, y, len(labels), chosen)
    wrong = labels[(test @ weights + biases).argmax(1).numpy()] != test_y
    by = np.arange(len(test_y)) if test_groups is None else np.unique(test_groups, return_inverse=True)[1]
    error, low, high = ratio_interval(np.bincount(by, weights=wrong), np.bincount(by).astype(float), seed=seed)
    chance = float((test_y != labels[counts.argmax()]).mean())
    return ProbeResult(error, low, high, chance, chosen, len(labels), len(test_y), wrong)
