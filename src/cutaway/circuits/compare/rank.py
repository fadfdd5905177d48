"""How far two lists of effects agree: rank and linear correlation, ties counted, each with its bootstrap interval over heads.

Every coefficient takes *weights*: how often a head was drawn. All ones is the coefficient itself; the multiplicities of a
bootstrap sample are the coefficient of that sample, so that a thousand of them are one call and nothing is sorted twice.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.read import Point

RESAMPLES = 1000


@dataclass(frozen=True)
class Agreement:
    """Three coefficients in [−1, 1] over `n` heads, as (value, low, high); None where one list is constant.

    `spearman` and `kendall` (τ-b) compare orders, and so mostly the many heads that do little; `pearson` compares sizes,
    and so mostly the few that do much.
    """

    spearman: Point
    kendall: Point
    pearson: Point
    n: int

    @property
    def chance(self) -> float:
        """Spearman's coefficient of unrelated lists lies within ± this in 95 % of cases, nearly (its variance is 1/(n−1))."""
        return 1.96 / math.sqrt(self.n - 1) if self.n > 1 else 1.0


def agreement(x: Float[Tensor, " head"], y: Float[Tensor, " head"], *, seed: int = 0) -> Agreement:
    """Agreement of two lists on the heads where both are known (not NaN), with 95 % percentile-bootstrap intervals."""
    known = ~(x.isnan() | y.isnan())
    x, y = x[known].double(), y[known].double()
    n = len(x)
    if n < 3 or x.min() == x.max() or y.min() == y.max():
        return Agreement(None, None, None, n)
    draws = torch.randint(n, (RESAMPLES, n), generator=torch.Generator().manual_seed(seed))
    drawn = torch.zeros(RESAMPLES, n, dtype=torch.double).scatter_add_(1, draws, torch.ones_like(draws).double())
    weights = torch.cat([torch.ones(1, n, dtype=torch.double), drawn])
    rank, order, line = (_point(coefficient(x, y, weights)) for coefficient in (spearman, kendall, pearson))
    return Agreement(rank, order, line, n)


def _point(values: Float[Tensor, " resample"]) -> Point:
    """The first is the coefficient itself, the rest are those of bootstrap samples (NaN where a sample was constant)."""
    low, high = values[1:].nanquantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return values[0].item(), low, high


def pearson(
    x: Float[Tensor, "*#resample head"], y: Float[Tensor, "*#resample head"], weights: Float[Tensor, "*resample head"]
) -> Float[Tensor, "*resample"]:
    """Linear correlation of weighted values; NaN where either is constant."""
    total = weights.sum(-1, keepdim=True)
    x, y = (v - (weights * v).sum(-1, keepdim=True) / total for v in (x, y))
    both, xx, yy = ((weights * v).sum(-1) for v in (x * y, x * x, y * y))
    return _ratio(both, xx, yy)


def spearman(
    x: Float[Tensor, " head"], y: Float[Tensor, " head"], weights: Float[Tensor, "*resample head"]
) -> Float[Tensor, "*resample"]:
    """Linear correlation of ranks; equal values share their mean rank (Spearman 1904)."""
    return pearson(midranks(x, weights), midranks(y, weights), weights)


def midranks(
    values: Float[Tensor, " head"], weights: Float[Tensor, "*resample head"]
) -> Float[Tensor, "*resample head"]:
    """The rank of every value among all, from 1, in a sample that holds each as often as its weight says."""
    _, group = values.unique(return_inverse=True)
    shape = (*weights.shape[:-1], int(group.max()) + 1)
    mass = torch.zeros(shape, dtype=weights.dtype).index_add(-1, group, weights)
    below = mass.cumsum(-1) - mass
    return (below + (mass + 1) / 2)[..., group]


def kendall(
    x: Float[Tensor, " head"], y: Float[Tensor, " head"], weights: Float[Tensor, "*resample head"]
) -> Float[Tensor, "*resample"]:
    """τ-b: pairs in one order less pairs in two, over the geometric mean of the pairs untied in x and in y (Kendall 1945)."""
    a, b = ((v[:, None] - v).sign() for v in (x, y))

    def pairs(signs: Float[Tensor, "head other"]) -> Float[Tensor, "*resample"]:
        return ((weights @ signs) * weights).sum(-1)

    return _ratio(pairs(a * b), pairs(a * a), pairs(b * b))


def _ratio(both: Tensor, xx: Tensor, yy: Tensor) -> Tensor:
    scale = (xx * yy).sqrt()
    return torch.where(scale > 0, both / scale, torch.nan).clamp(-1, 1)
