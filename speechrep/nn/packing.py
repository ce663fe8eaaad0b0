"""The frames of a batch without its padding: rows [M, D], M the sum of the lengths, utterance after utterance.

Whatever works on each frame for itself (linear layers, norms, dropout, losses) works on rows and spends nothing on
padding; what looks along time takes `unpack`ed frames or one utterance's rows at a time.
"""

import torch


class Rows:
    """Where the rows of a batch of these lengths [B] belong. `size`: frames of the padded form, the longest if None."""

    def __init__(self, lengths: torch.Tensor, size: int | None = None):
        self.lengths = lengths
        self.counts: list[int] = lengths.tolist()
        self.size = max(self.counts) if size is None else size
        self.inside = torch.arange(self.size, device=lengths.device) < lengths[:, None]
        self.index = self.inside.flatten().nonzero()[:, 0]

    @property
    def pad(self) -> torch.Tensor:
        """True behind each utterance's end [B, N]."""
        return ~self.inside

    def pack(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, N, ...] -> rows [M, ...]."""
        return x.flatten(0, 1).index_select(0, self.index)

    def unpack(self, rows: torch.Tensor) -> torch.Tensor:
        """rows [M, ...] -> [B, N, ...], zero in padding."""
        flat = rows.new_zeros(len(self.counts) * self.size, *rows.shape[1:])
        return flat.index_copy(0, self.index, rows).unflatten(0, (len(self.counts), self.size))

    def split(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """rows [M, ...] -> each utterance's [N_b, ...]."""
        return rows.split(self.counts)
