"""Whitening: a linear map after which dimensions are uncorrelated and of variance 1.

Of the many such maps it is the one that changes the features least (ZCA: Bell and Sejnowski 1997, The "independent
components" of natural scenes are edge filters), so that no dimension becomes another.
"""

from collections.abc import Iterable

import torch

FLOOR = 1e-3
"""Added to the variance along every direction, as a share of the mean variance: what hardly varies is noise, and is not
blown up."""


def whitening_of(batches: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean [D] and the symmetric map [D, D] of frames [R, D] that come in batches, so that (x - mean) @ map is white but
    for `FLOOR`. Memory does not grow with the number of batches. Raises `ValueError` where there are no frames."""
    count, first, second = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        x = batch.detach().cpu().double()
        count, first, second = count + len(x), first + x.sum(0), second + x.T @ x
    if not count:
        raise ValueError("no frames to whiten")
    mean = first / count
    values, vectors = torch.linalg.eigh(second / count - torch.outer(mean, mean))
    values = values.clamp_min(0)
    scales = (values + FLOOR * values.mean()).clamp_min(torch.finfo(torch.float32).tiny).rsqrt()
    return mean.float(), (vectors * scales @ vectors.T).float()
