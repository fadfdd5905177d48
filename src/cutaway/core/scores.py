"""Numbers estimated from samples: a mean, a ratio of sums, or any other statistic, with a bootstrap interval."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.core.estimates import Estimate


def bootstrap(
    values: Float[Tensor, "*axes sample"], *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[Float[Tensor, "*axes"], Float[Tensor, "*axes"], Float[Tensor, "*axes"]]:
    """Mean, low and high of the percentile bootstrap over the last axis (Efron 1979); the same resamples for all axes."""
    means = values.float().cpu() @ _weights(values.shape[-1], resamples, seed).T
    low, high = _tails(means, level)
    return values.float().cpu().mean(-1), low, high


def bootstrap_ratio(
    above: Float[Tensor, "*axes sample"],
    below: Float[Tensor, "*axes sample"],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Float[Tensor, "*axes"], Float[Tensor, "*axes"], Float[Tensor, "*axes"]]:
    """Σ above / Σ below over samples, low and high of its percentile bootstrap; 0 where the sum below is 0.

    F1 of spans is such a ratio: twice the right ones over those found and those there, summed over sentences that are drawn
    whole.
    """
    weights = _weights(above.shape[-1], resamples, seed).T

    def ratio(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(y > 0, x / y.clamp_min(1e-12), torch.zeros_like(x))

    above, below = above.float().cpu(), below.float().cpu()
    low, high = _tails(ratio(above @ weights, below @ weights), level)
    return ratio(above.sum(-1), below.sum(-1)), low, high


def estimates(
    statistics: Callable[[Float[Tensor, "resample sample"]], Mapping[str, Float[Tensor, " resample"]]],
    n: int,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Any statistics of n samples, each with its interval; the same resamples for all.

    Args:
        statistics: their values for samples that are there so and so often: a row of counts for each resample, in float64.
    """
    rows = _counts(n, resamples, seed).split(100)
    drawn = [statistics(some.double()) for some in rows]
    found = {}
    for name, value in statistics(torch.ones(1, n, dtype=torch.float64)).items():
        low, high = _tails(torch.cat([each[name] for each in drawn]), level).tolist()
        found[name] = Estimate(value.item(), low, high, n)
    return found


def _weights(n: int, resamples: int, seed: int) -> Float[Tensor, "resample sample"]:
    """How often each resample draws each sample, over n."""
    return _counts(n, resamples, seed) / n


def _counts(n: int, resamples: int, seed: int) -> Float[Tensor, "resample sample"]:
    draws = torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(seed))
    return torch.zeros(resamples, n).scatter_add_(1, draws, torch.ones(resamples, n))


def _tails(values: Float[Tensor, "*axes resample"], level: float) -> Float[Tensor, "2 *axes"]:
    tail = (1 - level) / 2
    return values.quantile(values.new_tensor([tail, 1 - tail]), dim=-1)


def estimate(values: Float[Tensor, " sample"], *, seed: int = 0) -> Estimate:
    """The mean of one list of samples, with its interval."""
    mean, low, high = bootstrap(values, seed=seed)
    return Estimate(float(mean), float(low), float(high), len(values))


def estimate_ratio(above: Float[Tensor, " sample"], below: Float[Tensor, " sample"], *, seed: int = 0) -> Estimate:
    """A ratio of sums over one list of samples, with its interval."""
    ratio, low, high = bootstrap_ratio(above, below, seed=seed)
    return Estimate(float(ratio), float(low), float(high), len(above))
