"""Errors of detection, such as speaker verification: equal error rate and detection cost.

A trial is accepted where its score reaches the threshold. A miss is a target that is not accepted, a false alarm a
non-target that is; trials of equal scores are accepted or rejected together.
"""

import numpy as np


def error_rates(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates of misses and of false alarms at every threshold that matters, and those thresholds: three arrays [K + 1].

    scores: [n], finite, higher is more alike; targets: [n], whether the trial is one. K scores differ; the thresholds
    rise from the least score, at which all are accepted, to infinity. Raises ValueError for scores that are not finite,
    shapes that differ, or trials of one kind only.
    """
    scores, targets = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=bool)
    if scores.shape != targets.shape or scores.ndim != 1:
        raise ValueError(f"shapes {scores.shape} and {targets.shape}, wanted two of [n]")
    if not np.isfinite(scores).all():
        raise ValueError("scores that are not finite")
    wanted = int(targets.sum())
    if not 0 < wanted < len(targets):
        raise ValueError(f"{wanted} targets of {len(targets)} trials, wanted both kinds")
    thresholds, place = np.unique(scores, return_inverse=True)
    missed = np.cumsum(np.bincount(place, weights=targets, minlength=len(thresholds)))
    rejected = np.cumsum(np.bincount(place, weights=~targets, minlength=len(thresholds)))
    misses = np.concatenate([[0], missed]) / wanted
    false_alarms = 1 - np.concatenate([[0], rejected]) / (len(targets) - wanted)
    return misses, false_alarms, np.append(thresholds, np.inf)


def eer(scores: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """The rate at which misses and false alarms are equal, and the threshold there.

    Between the two thresholds where their order changes both rates are taken to be linear, as along scikit-learn's ROC
    (what s3prl reports). Errors as of `error_rates`.
    """
    misses, false_alarms, thresholds = error_rates(scores, targets)
    # Misses only rise and false alarms only fall: from 0 and 1 to 1 and 0.
    after = int(np.argmax(misses >= false_alarms))
    before = after - 1
    gap = false_alarms[before] - misses[before]
    share = gap / (gap + misses[after] - false_alarms[after])
    last = thresholds[after] if np.isfinite(thresholds[after]) else thresholds[before]
    return (float(misses[before] + share * (misses[after] - misses[before])),
            float(thresholds[before] + share * (last - thresholds[before])))


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
    costs = c_miss * misses * p_target + c_false_alarm * false_alarms * (1 - p_target)
    best = int(costs.argmin())
    return float(costs[best] / min(c_miss * p_target, c_false_alarm * (1 - p_target))), float(thresholds[best])
