"""Numbers with their uncertainty: a mean over samples with a bootstrap interval."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` samples and its 95 % percentile-bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict:
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}


def bootstrap(
    values: Float[Tensor, "*axes sample"], *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[Float[Tensor, "*axes"], Float[Tensor, "*axes"], Float[Tensor, "*axes"]]:
    """Mean, low and high of the percentile bootstrap over the last axis (Efron 1979); the same resamples for all axes."""
    n = values.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(n, (resamples, n), generator=generator)
    weights = torch.zeros(resamples, n).scatter_add_(1, draws, torch.ones(resamples, n)) / n
    means = values.float().cpu() @ weights.T
    tail = (1 - level) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail]), dim=-1)
    return values.float().cpu().mean(-1), low, high


def estimate(values: Float[Tensor, " sample"], *, seed: int = 0) -> Estimate:
    """The mean of one list of samples, with its interval."""
    mean, low, high = bootstrap(values, seed=seed)
    return Estimate(float(mean), float(low), float(high), len(values))
