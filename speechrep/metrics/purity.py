"""How well discrete units and phones tell of each other, from how often they fall on the same frame.

Definitions of HuBERT (Hsu et al., arXiv 2106.07447, section IV-D); `speaker_share` is ours. `table` [P, K]: frames of phone p
and unit k.
"""

from collections.abc import Iterable

import numpy as np


def phone_purity(table: np.ndarray) -> float:
    """The share of frames that are right if each unit is read as its most frequent phone."""
    return float(table.max(0).sum() / table.sum())


def cluster_purity(table: np.ndarray) -> float:
    """The share of frames whose unit is the most frequent one of their phone. Falls as units grow in number."""
    return float(table.max(1).sum() / table.sum())


def pnmi(table: np.ndarray) -> float:
    """Phone-normalised mutual information, I(phone; unit) / H(phone): the share of the uncertainty about a frame's phone
    that its unit takes away. 0 where there is only one phone."""
    joint = table / table.sum()
    phones, units = joint.sum(1), joint.sum(0)
    entropy = -np.sum(phones[phones > 0] * np.log(phones[phones > 0]))
    seen = joint > 0
    information = np.sum(joint[seen] * np.log(joint[seen] / np.outer(phones, units)[seen]))
    return float(information / entropy) if entropy > 0 else 0.0


def pnmi_within(tables: list[np.ndarray]) -> float:
    """The mean of the PNMI of each table [P, K] (of a language, say), weighted by its frames."""
    return float(np.average([pnmi(table) for table in tables], weights=[table.sum() for table in tables]))


def speaker_share(tables: Iterable[np.ndarray], smoothing: float = 1.0) -> float:
    """I(unit; speaker | phone) / H(unit): the share of what units say that is of the speaker, not of the phone.

    tables: of each phone the frames by half of the utterances, speaker and unit [2, S, K]. Each half's units are guessed by the
    other's counts, once those of the phone and once those of the phone and speaker, to which `smoothing` frames for each unit
    are added, distributed as the phone's; the information is how much the mean negative log-likelihood falls. What speakers
    have by chance is not found again in the other half, so that units which tell no voices have 0 or a little less, and of
    few frames too little is found rather than too much. Phones that fewer than two speakers say in both halves are left out;
    nan if that leaves none.
    """
    information, units = 0.0, []
    for table in tables:
        table = table[:, (table.sum(2) > 0).all(0)].astype(np.float64)
        if table.shape[1] < 2:
            continue
        units.append(table.sum((0, 1)))
        added = smoothing * table.shape[2]
        for known, guessed in (table, table[::-1]):
            phone = known.sum(0) / known.sum()
            own = (known + added * phone) / (known.sum(1, keepdims=True) + added)
            # As much of the even distribution goes into both, lest one be the sharper for it.
            even = 1 / (known.sum() / 0.5 + len(phone))
            rest = 1 - even * len(phone)
            information += (guessed * np.log((rest * own + even) / (rest * phone + even))).sum()
    if not units:
        return float("nan")
    frames = sum(units)
    frames = frames[frames > 0]
    entropy = -np.sum(frames * np.log(frames / frames.sum()))
    return float(information / entropy) if entropy > 0 else float("nan")


def contingency(phones: np.ndarray, units: np.ndarray, phone_count: int, unit_count: int) -> np.ndarray:
    """Frames by phone and unit: numbers [N] each -> [phone_count, unit_count]."""
    return np.bincount(phones * unit_count + units, minlength=phone_count * unit_count).reshape(phone_count, unit_count)
