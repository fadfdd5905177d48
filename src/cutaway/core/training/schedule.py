"""The learning rate as a function of the step, so that nothing about it needs to be kept in a checkpoint."""

import math


def rate(step: int, total: int, *, warmup: float = 0.0, schedule: str = "linear") -> float:
    """The share of the top learning rate at `step` (from 0) of `total`.

    It rises linearly over the first `warmup` share of the steps and then falls to 0: as a line, as half a cosine, or not.
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / rising
    left = (total - step) / max(total - rising, 1)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (1 - left)))
    return left if schedule == "linear" else 1.0
