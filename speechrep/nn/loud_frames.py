"""Means over speech alone: over the frames of an utterance that are not below its mean level. Of a spectrum it is the long-term
average (LTAS), by which voices differ whatever they say."""

import torch

from speechrep.nn.masking import pad_mask


def loud_frames(mel: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Which frames are of each row's mean level or above. mel [B, N, D], logarithmic, lengths [B] -> bool [B, N]."""
    inside = ~pad_mask(lengths, mel.shape[1])
    level = mel.mean(-1)
    return inside & (level >= (level * inside).sum(1, keepdim=True) / lengths[:, None])


def mean_over(x: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The mean of each row over the frames chosen, zero where there are none. x [B, N, D], chosen [B, N] -> [B, D]."""
    return (x * chosen[..., None]).sum(1) / chosen.sum(1, keepdim=True).clamp(min=1)
