"""Errors of detection, such as speaker verification: equal error rate and detection cost.

A trial is accepted where its score reaches the threshold. A miss is a target that is not accepted, a false alarm a
non-target that is; trials of equal scores are accepted or rejected together.
"""

from collections.abc import Sequence

import numpy as np

from speechrep.metrics.bootstrap import LEVEL, draws


def error_rates(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates of misses and of false alarms at every threshold that matters, and those thresholds: three arrays [K + 1].

    scores: [n], finite, higher is more alike; targets: [n], whether the trial is one. K scores differ; the thresholds
    rise from the least score, at which all are accepted, to infinity. Raises ValueError for scores that are not finite,
    shapes that differ, or trials of one kind only.
    """
    thresholds, place, targets = _ranked(scores, targets)
    return *_rates(place, targets, np.ones(len(place)), len(thresholds)), np.append(thresholds, np.inf)


def eer(scores: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """The rate in [0, 1] at which misses and false alarms are equal, and the threshold there.

    Between the two thresholds where their order changes both rates are taken to be linear, as along scikit-learn's ROC
    (what s3prl reports). Errors as of `error_rates`.
    """
    misses, false_alarms, thresholds = error_rates(scores, targets)
    before, share, rate = _crossing(misses, false_alarms)
    last = thresholds[before + 1] if np.isfinite(thresholds[before + 1]) else thresholds[before]
    return rate, float(thresholds[before] + share * (last - thresholds[before]))


def min_dcf(scores: np.ndarray, targets: np.ndarray, p_target: float = 0.01, c_miss: float = 1.0,
            c_false_alarm: float = 1.0) -> tuple[float, float]:
    """The least detection cost over all thresholds, normalised, and the threshold.

    c_miss P(miss) p_target + c_false_alarm P(false alarm) (1 - p_target), divided by the cost of the better of
    accepting all and rejecting all (NIST; Kaldi divides so, SpeechBrain does not: at p_target 0.01 a hundred times
    less). Of equally cheap thresholds the least. Errors as of `error_rates`, and ValueError for a p_target that is not
    within (0, 1).
    """
    if not 0 < p_target < 1 or min(c_miss, c_false_alarm) <= 0:
        raise ValueError(f"p_target {p_target}, costs {c_miss} and {c_false_alarm}; wanted within (0, 1), and above 0")
    misses, false_alarms, thresholds = error_rates(scores, targets)
    costs = _costs(misses, false_alarms, p_target, c_miss, c_false_alarm)
    # Rates of the same counts differ in their last digits.
    best = int(np.argmax(costs <= costs.min() + 1e-12))
    return float(costs[best]), float(thresholds[best])


def detection_intervals(scores: np.ndarray, targets: np.ndarray, groups: Sequence[str],
                        p_targets: tuple[float, ...] = (0.01, 0.001)) -> dict[str, tuple[float, float, float]]:
    """EER and normalised minDCF with their 95 % bootstrap intervals: "eer" and "min_dcf_P" -> (value, low, high).

    groups: [n], the speaker or utterance that each trial is of; groups are drawn, not trials, since those of one stand and
    fall together. Resamples without targets or without non-targets are left out. Errors as of `error_rates`.
    """
    thresholds, place, targets = _ranked(scores, targets)
    owner = np.unique(np.asarray(groups), return_inverse=True)[1]
    drawn = draws(int(owner.max()) + 1)
    weights = [np.ones(len(place)), *(np.bincount(row, minlength=drawn.shape[1])[owner] for row in drawn)]
    found: dict[str, list[float]] = {}
    for weight in weights:
        if not 0 < weight[targets].sum() < weight.sum():
            continue
        rates = _rates(place, targets, weight, len(thresholds))
        found.setdefault("eer", []).append(_crossing(*rates)[2])
        for p_target in p_targets:
            found.setdefault(f"min_dcf_{p_target:g}", []).append(float(_costs(*rates, p_target).min()))
    return {name: (values[0], *(float(bound) for bound in np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])))
            for name, values in found.items()}


def _ranked(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scores that differ, rising [K], the place of each trial among them [n], and `targets` [n] as bool."""
    scores, targets = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=bool)
    if scores.shape != targets.shape or scores.ndim != 1:
        raise ValueError(f"shapes {scores.shape} and {targets.shape}, wanted two of [n]")
    if not np.isfinite(scores).all():
        raise ValueError("scores that are not finite")
    wanted = int(targets.sum())
    if not 0 < wanted < len(targets):
        raise ValueError(f"{wanted} targets of {len(targets)} trials, wanted both kinds")
    return *np.unique(scores, return_inverse=True), targets


def _rates(place: np.ndarray, targets: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Misses and false alarms [K + 1] where trials count `weights` [n] times."""
    missed = np.cumsum(np.bincount(place, weights=targets * weights, minlength=count))
    rejected = np.cumsum(np.bincount(place, weights=~targets * weights, minlength=count))
    return np.concatenate([[0], missed / missed[-1]]), 1 - np.concatenate([[0], rejected / rejected[-1]])


def _crossing(misses: np.ndarray, false_alarms: np.ndarray) -> tuple[int, float, float]:
    """The place before misses and false alarms cross, the share of the way to the next, and the rate there."""
    # Misses only rise and false alarms only fall: from 0 and 1 to 1 and 0.
    after = int(np.argmax(misses >= false_alarms))
    before = after - 1
    gap = false_alarms[before] - misses[before]
    share = float(gap / (gap + misses[after] - false_alarms[after]))
    return before, share, float(misses[before] + share * (misses[after] - misses[before]))


def _costs(misses: np.ndarray, false_alarms: np.ndarray, p_target: float, c_miss: float = 1.0,
           c_false_alarm: float = 1.0) -> np.ndarray:
    costs = c_miss * misses * p_target + c_false_alarm * false_alarms * (1 - p_target)
    return costs / min(c_miss * p_target, c_false_alarm * (1 - p_target))
