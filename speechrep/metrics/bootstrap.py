"""Bootstrap intervals by utterance: how far a number would move if other utterances had been drawn.

Percentile intervals (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13), of ratios of sums as Bisani and
Ney (ICASSP 2004) take them for word error rates. Values are in the units of what is given.
"""

from collections.abc import Callable

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95


def draws(utterances: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Indices of the resampled utterances [resamples, U]; the same for the same numbers, so that systems are paired."""
    return np.random.default_rng(seed).integers(utterances, size=(resamples, utterances))


def ratio_interval(numerators: np.ndarray, denominators: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0,
                   level: float = LEVEL, transform: Callable[[np.ndarray], np.ndarray] | None = None
                   ) -> tuple[float, float, float]:
    """Ratio of sums over utterances and its percentile interval.

    numerators, denominators: one value an utterance [U], for example edits and reference words. `transform` is applied
    to each ratio: np.sqrt turns a mean square into its root. Resamples whose denominator is 0 are left out.
    Returns (value, low, high). Raises ValueError if there is no utterance or the whole denominator is 0.
    """
    numerators = np.asarray(numerators, dtype=np.float64)
    denominators = np.asarray(denominators, dtype=np.float64)
    if numerators.shape != denominators.shape or numerators.ndim != 1:
        raise ValueError(f"shapes {numerators.shape} and {denominators.shape}, wanted two of [U]")
    if not denominators.sum() > 0:
        raise ValueError("nothing to divide by: no utterance, or all of them empty")
    drawn = draws(len(numerators), resamples, seed)
    above, below = numerators[drawn].sum(1), denominators[drawn].sum(1)
    ratios = above[below > 0] / below[below > 0]
    value = numerators.sum() / denominators.sum()
    if transform is not None:
        value, ratios = transform(np.asarray(value)), transform(ratios)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(value), float(low), float(high)


def mean_interval(values: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0,
                  level: float = LEVEL) -> tuple[float, float, float]:
    """Mean over utterances [U] and its percentile interval: (value, low, high)."""
    values = np.asarray(values, dtype=np.float64)
    return ratio_interval(values, np.ones_like(values), resamples=resamples, seed=seed, level=level)
