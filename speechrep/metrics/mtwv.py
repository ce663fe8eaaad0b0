"""Term-weighted value: how well queries are found, misses weighed against false alarms.

For a threshold, TWV = 1 - mean over queries of (P_miss + beta P_fa): P_miss is the share of the query's hits that stay
below it, P_fa the share of the trials that are no hits and do not (NIST, "The Spoken Term Detection (STD) 2006
Evaluation Plan", eq. 3 to 5; here a trial is a document, as in the MediaEval and QUESST evaluations). beta =
C_fa / C_miss (1 / P_target - 1). The maximum, MTWV, is over one threshold for all queries. 1 is perfect, 0 is what
detecting nothing has, and there is no lower bound to a single TWV.
"""

from dataclasses import dataclass

import numpy as np

P_TARGET, C_FA, C_MISS = 0.0008, 1.0, 100.0
"""QUESST 2015's scoring script; the same are assumed of 2014."""
UNREPORTED = -10.0
"""The score of a trial that a system left out (s3prl's scoring of QUESST 2014)."""


@dataclass(frozen=True)
class TermWeighted:
    """`value` at `threshold`: what scores that or more is detected (infinite where nothing should be). `queries` are the
    rows that have hits, which alone are counted, and `values`, `misses` and `alarms` theirs: TWV, P_miss, P_fa [Q']."""

    value: float
    threshold: float
    queries: np.ndarray
    values: np.ndarray
    misses: np.ndarray
    alarms: np.ndarray


def beta(p_target: float = P_TARGET, c_fa: float = C_FA, c_miss: float = C_MISS) -> float:
    """The weight of false alarms: 12.49 for QUESST."""
    return c_fa / c_miss * (1 / p_target - 1)


def term_weighted_value(scores: np.ndarray, hits: np.ndarray, threshold: float, *, trials: np.ndarray | None = None,
                        weight: float | None = None) -> TermWeighted:
    """TWV at a threshold. scores: [Q, R] of queries and documents, higher where the query is likelier; hits: where it
    is said [Q, R], bool; trials: which are to be judged at all (default: all); weight: beta, QUESST's by default.

    A query without hits is not counted; one without other trials has no false alarms. Raises ValueError for other
    shapes, a score that is not a number, and where no query has a hit.
    """
    scores, hits, trials = _checked(scores, hits, trials)
    queries = np.flatnonzero(hits.any(1))
    detected = (scores >= threshold) & trials
    targets, others = hits[queries].sum(1), (trials & ~hits)[queries].sum(1)
    misses = 1 - (detected & hits)[queries].sum(1) / targets
    alarms = (detected & ~hits)[queries].sum(1) / np.maximum(others, 1)
    values = 1 - misses - (beta() if weight is None else weight) * alarms
    return TermWeighted(float(values.mean()), float(threshold), queries, values, misses, alarms)


def mtwv(scores: np.ndarray, hits: np.ndarray, *, trials: np.ndarray | None = None,
         weight: float | None = None) -> TermWeighted:
    """The greatest TWV over all thresholds, for arguments as of `term_weighted_value`; never below 0."""
    scores, hits, trials = _checked(scores, hits, trials)
    queries = np.flatnonzero(hits.any(1))
    targets, others = hits[queries].sum(1), (trials & ~hits)[queries].sum(1)
    # What the sum over queries gains when a trial is detected.
    gains = np.where(hits[queries], 1 / targets[:, None],
                     -(beta() if weight is None else weight) / np.maximum(others, 1)[:, None])
    judged = trials[queries]
    flat, gains = scores[queries][judged], gains[judged]
    order = np.argsort(-flat, kind="stable")
    flat, total = flat[order], np.cumsum(gains[order])
    # Equal scores are detected together.
    ends = np.flatnonzero(np.append(np.diff(flat) != 0, True))
    best = ends[total[ends].argmax()]
    threshold = flat[best] if total[best] > 0 else np.inf
    return term_weighted_value(scores, hits, threshold, trials=trials, weight=weight)


def _checked(scores: np.ndarray, hits: np.ndarray,
             trials: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, hits = np.asarray(scores, dtype=np.float64), np.asarray(hits, dtype=bool)
    trials = np.ones_like(hits) if trials is None else np.asarray(trials, dtype=bool)
    if scores.ndim != 2 or not scores.shape == hits.shape == trials.shape:
        raise ValueError(f"shapes {scores.shape}, {hits.shape} and {trials.shape}, wanted [Q, R] of all")
    if np.isnan(scores[trials]).any():
        raise ValueError("a score that is not a number")
    hits = hits & trials
    if not hits.any():
        raise ValueError("no query has a hit")
    return scores, hits, trials
