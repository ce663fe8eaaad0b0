"""How well discrete units and phones tell of each other, from how often they fall on the same frame.

Definitions of HuBERT (Hsu et al., arXiv 2106.07447, section IV-D). `table` [P, K]: frames of phone p and unit k.
"""

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


def contingency(phones: np.ndarray, units: np.ndarray, phone_count: int, unit_count: int) -> np.ndarray:
    """Frames by phone and unit: numbers [N] each -> [phone_count, unit_count]."""
    return np.bincount(phones * unit_count + units, minlength=phone_count * unit_count).reshape(phone_count, unit_count)
