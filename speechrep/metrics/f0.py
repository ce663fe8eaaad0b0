"""Errors of pitch and of durations on frames or phones that are already paired."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PitchErrors:
    """Counts of one utterance over the pairs of a warping path; sums, so that utterances add up."""

    frames: int
    """Pairs of frames."""
    voicing_errors: int
    """Pairs of which just one frame is voiced."""
    voiced: int
    """Pairs whose frames are both voiced; the rest below is over these."""
    square_log: float
    """Sum of squared differences of the natural logarithm of F0."""
    square_hz: float
    """Sum of squared differences of F0 in Hz^2."""
    correlation: float | None
    """Pearson's correlation of F0; None for fewer than 3 voiced pairs or a constant F0."""


def pitch_errors(reference: np.ndarray, hypothesis: np.ndarray) -> PitchErrors:
    """Compare paired F0 tracks in Hz, [P] each, 0 where unvoiced. Differences of logarithms are natural ones, in ln Hz, and
    of frames that both sides voice, as is usual in voice conversion; which frames are paired is for the caller to say.

    The log-F0 RMSE of a corpus is sqrt(sum square_log / sum voiced); its V/UV error is sum voicing_errors / sum frames.
    MSEP, which no source that we read expands, is taken as the mean square error of pitch: sum square_hz / sum voiced.
    """
    if reference.shape != hypothesis.shape or reference.ndim != 1:
        raise ValueError(f"shapes {reference.shape} and {hypothesis.shape}, wanted two of [P]")
    both = (reference > 0) & (hypothesis > 0)
    r, h = reference[both].astype(np.float64), hypothesis[both].astype(np.float64)
    correlation = None
    if len(r) >= 3 and r.std() > 1e-9 and h.std() > 1e-9:
        correlation = float(np.corrcoef(r, h)[0, 1])
    return PitchErrors(len(reference), int(((reference > 0) != (hypothesis > 0)).sum()), int(both.sum()),
                       float(((np.log(r) - np.log(h))**2).sum()), float(((r - h)**2).sum()), correlation)


def duration_errors(reference: tuple[list[str], list[float]], hypothesis: tuple[list[str], list[float]]
                    ) -> np.ndarray | None:
    """Absolute differences of the phones' durations in ms [U], silences left out; a definition of this project.

    Each side: phones and their end times in seconds. Phones are paired in order; where the two strings differ (stress
    and tone digits aside), None.
    """
    sides = []
    for names, ends in (reference, hypothesis):
        durations = np.diff(np.asarray(ends, dtype=np.float64), prepend=0.0)
        spoken = [i for i, name in enumerate(names) if name != "SIL"]
        sides.append(([names[i].rstrip("0123456789") or names[i] for i in spoken], durations[spoken]))
    (ref_names, ref), (hyp_names, hyp) = sides
    return np.abs(ref - hyp) * 1000 if ref_names == hyp_names else None
