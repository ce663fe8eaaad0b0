"""What a trained model must remember of the data it was trained on, so that a checkpoint serves alone."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Inventory:
    """Phones, speakers and features by name; plain values, stored in every checkpoint."""

    phones: tuple[str, ...] = ()
    """Phone symbols in the order of their ids, with stress or tone digits; id 0 is SIL."""
    speakers: tuple[str, ...] = ()
    """Training speakers in the order of their ids."""
    features: dict[str, Any] = field(default_factory=dict)
    """The feature configuration as plain values (`speechrep.data.features.FeatureConfig`)."""
    mean: tuple[float, ...] = ()
    """Mean of each feature dimension over the training part [D]."""
    std: tuple[float, ...] = ()
    """Standard deviation of each feature dimension over the training part [D]."""
    g2p: dict[str, str] = field(default_factory=dict)
    """Language -> the phonemiser that made the phones (g2p-en, pypinyin, espeak)."""

    @cached_property
    def _ids(self) -> dict[str, int]:
        # The symbol without its digits stands for any of its stresses or tones; exact symbols win.
        loose = {phone.rstrip("0123456789"): i for i, phone in reversed(list(enumerate(self.phones)))}
        return loose | {phone: i for i, phone in enumerate(self.phones)}

    def phone_id(self, phone: str) -> int | None:
        """The id of a phone, of the same phone with another stress or tone where training never saw this one, or None."""
        found = self._ids.get(phone)
        return self._ids.get(phone.rstrip("0123456789")) if found is None else found
