"""Signs of collapse: how much values vary, and what to say when they no longer do."""

import torch

from speechrep.nn.masking import pad_mask


def spread(x: torch.Tensor, cells: torch.Tensor) -> tuple[float, float]:
    """Standard deviation of each dimension over its chosen cells, averaged over dimensions, as a (sum, count) pair
    that is weighted by the number of cells. x [B, N, D], cells [B, N, D] or [B, N, 1], True where a value counts."""
    cells = cells.expand_as(x)
    x, inside = x.detach().float(), cells.float()
    count = inside.sum((0, 1))
    mean = (x * inside).sum((0, 1)) / count.clamp(min=1)
    variance = ((x - mean).square() * inside).sum((0, 1)) / count.clamp(min=1)
    total = float(count.sum())
    return float((variance.sqrt() * count).sum()), total


def frames_of(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """True where there is a frame: lengths [B] -> [B, size, 1]."""
    return ~pad_mask(lengths, size)[..., None]


def flat(values: dict[str, float], share: float = 0.05) -> str | None:
    """A sentence if the predictions vary by less than `share` of what the targets do, by `prediction_std` and
    `target_std` of the dev metrics."""
    made, real = values["prediction_std"], values["target_std"]
    if made >= share * real:
        return None
    return (f"the predictions hardly vary (standard deviation {made:.3g} where the targets have {real:.3g}); "
            f"a healthy run has more than {share:g} of the targets'")


def few_codes(values: dict[str, float], least: float) -> str | None:
    """A sentence if the codebook's `perplexity` of the dev metrics is below `least`."""
    if values["perplexity"] >= least:
        return None
    return f"the codebook's perplexity is {values['perplexity']:.2f}; a healthy run has {least:g} or more codes in use"
