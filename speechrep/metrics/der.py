"""Diarisation error rate: (missed speech + false alarms + confused speakers) / scored speech of the reference.

Times of overlapping speakers count once for each (NIST's md-eval, version 22, and the Rich Transcription evaluation plans).
The pairing of reference and hypothesised speakers is the one with the most common time. The collar is NIST's: so many
seconds are not scored on EACH side of every start and end of a reference turn (pyannote.metrics' collar is the total width,
twice this).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechrep.metrics.assignment import best_pairs

Turn = tuple[str, float, float]
"""A speaker, and when a turn begins and ends, in seconds."""


@dataclass(frozen=True)
class DiarisationErrors:
    """Seconds (or frames) of each kind of error in one recording."""

    miss: float
    """Reference speakers beyond as many as are hypothesised."""
    false_alarm: float
    """Hypothesised speakers beyond as many as there are."""
    confusion: float
    """Speakers paired with another."""
    speech: float
    """Scored time of the reference, overlapping speakers each counted."""

    @property
    def errors(self) -> float:
        """All three kinds together."""
        return self.miss + self.false_alarm + self.confusion


def diarisation_errors(reference: Sequence[Turn], hypothesis: Sequence[Turn], collar_sec: float = 0.0,
                       overlap: bool = True) -> DiarisationErrors:
    """The errors of one recording, in seconds, exactly (not frame by frame).

    overlap: whether times at which two or more reference speakers talk are scored. A speaker whose own turns overlap talks
    once, but each of the turns has its collars (as of pyannote.metrics). A recording without reference speech gives false
    alarms only.
    """
    edges = [time for _, start, end in reference for time in (start, end)]
    reference, hypothesis = merged(reference), merged(hypothesis)
    bounds = {time for _, start, end in (*reference, *hypothesis) for time in (start, end)}
    bounds |= {time + side for time in edges for side in (-collar_sec, collar_sec)}
    grid = np.array(sorted(bounds))
    if len(grid) < 2:
        return DiarisationErrors(0.0, 0.0, 0.0, 0.0)
    lengths, middles = np.diff(grid), (grid[1:] + grid[:-1]) / 2
    if collar_sec > 0:
        lengths = lengths * (np.abs(middles[:, None] - np.array(edges)).min(1) > collar_sec) if edges else lengths
    active = [_active(turns, middles) for turns in (reference, hypothesis)]
    if not overlap:
        lengths = lengths * (active[0].sum(1) < 2)
    return frame_errors(*active, lengths)


def frame_errors(reference: np.ndarray, hypothesis: np.ndarray, lengths: np.ndarray | None = None) -> DiarisationErrors:
    """The errors of one recording from who speaks in each frame: reference [N, S], hypothesis [N, K], both of 0 and 1.

    lengths [N]: what each frame weighs; 1 where None.
    """
    reference, hypothesis = np.asarray(reference, dtype=np.float64), np.asarray(hypothesis, dtype=np.float64)
    lengths = np.ones(len(reference)) if lengths is None else lengths
    common = reference.T @ (hypothesis * lengths[:, None])
    right = sum(common[pair] for pair in best_pairs(common)) if common.size else 0.0
    there, said = reference.sum(1), hypothesis.sum(1)
    return DiarisationErrors(float(lengths @ np.maximum(there - said, 0)), float(lengths @ np.maximum(said - there, 0)),
                             float(lengths @ np.minimum(there, said) - right), float(lengths @ there))


def merged(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of which no two of a speaker overlap or touch, by speaker and start."""
    found: list[Turn] = []
    for name, start, end in sorted(turns):
        if found and found[-1][0] == name and start <= found[-1][2]:
            found[-1] = (name, found[-1][1], max(end, found[-1][2]))
        else:
            found.append((name, start, end))
    return found


def _active(turns: Sequence[Turn], times: np.ndarray) -> np.ndarray:
    """Whether each speaker talks at each of `times` [N]: [N, S], speakers by name."""
    rows = [np.any([(start < times) & (times < end) for _, start, end in own], axis=0)
            for _, own in itertools.groupby(sorted(turns), key=lambda turn: turn[0])]
    return np.stack(rows, 1) if rows else np.zeros((len(times), 0), bool)
