"""Instance normalisation over time: what is constant through an utterance, as a voice is, is taken out (Ulyanov et al.,
arXiv 1607.08022; for the voice: AdaIN-VC, Chou et al., arXiv 1904.05742)."""

import torch

from speechrep.nn.masking import pad_mask


def instance_norm(x: torch.Tensor, lengths: torch.Tensor, prior_frames: float = 25.0) -> torch.Tensor:
    """Each channel of each row with zero mean and unit variance over its frames; zeros in padding.

    x [B, N, D], lengths [B] -> [B, N, D]. `prior_frames` frames of mean 0 and variance 1 are counted in, so that an
    utterance of a few frames is not erased: x should come near that scale.
    """
    inside = ~pad_mask(lengths, x.shape[1])[..., None]
    count = (lengths + prior_frames)[:, None, None]
    x = x * inside
    x = (x - x.sum(1, keepdim=True) / count) * inside
    return x * ((x.square().sum(1, keepdim=True) + prior_frames) / count).rsqrt()
