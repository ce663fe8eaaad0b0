"""The learning rate over the steps of a run."""

import math


def rate_at(step: int, peak: float, steps: int, warmup: int, schedule: str, floor: float) -> float:
    """The learning rate of the step after `step` finished ones: a linear warm-up to `peak`, then down to `floor * peak`.

    schedule: "constant", "linear", "cosine" or "inverse_sqrt" (which goes by warm-up, not by `steps`, and knows no floor).
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    if schedule == "inverse_sqrt":
        return peak * math.sqrt(max(warmup, 1) / (step + 1))
    done = min((step - warmup) / max(steps - warmup, 1), 1.0)
    share = 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return peak * (floor + (1 - floor) * share)
