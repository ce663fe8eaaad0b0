"""Two masks, two words: `pad` is True where there is no data, `hidden` where the model may not look."""

import torch


def pad_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """True behind each sequence's end: lengths [B] -> pad [B, size]."""
    return torch.arange(size, device=lengths.device) >= lengths[:, None]
