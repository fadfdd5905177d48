"""What a patch does to the metric: the result record, with the convention that makes it comparable."""

from dataclasses import asdict, dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.graph import Edge
from cutaway.core.scores import bootstrap
from cutaway.decoder import Site


@dataclass(frozen=True)
class Convention:
    """How a number was made. Two effects compare only if these agree."""

    kind: Literal["exact", "attribution", "learned"]
    direction: Literal["noising", "denoising"]
    """noising: clean run, values patched in from the corrupted one; denoising: the other way round."""
    corruption: str
    metric: str
    sign: str
    model: str
    n: int
    seed: int
    roles: tuple[str, ...] = ()
    ablation: str = ""
    """What stands in for heads outside a circuit, for results that measured circuits on their own."""

    def __str__(self) -> str:
        how = f"{self.kind} {self.direction}, {self.corruption}, {self.metric}, {self.sign}"
        how += f", {self.ablation} ablation" if self.ablation else ""
        return f"{how}, n={self.n}, seed {self.seed}, {self.model}"


@dataclass(frozen=True)
class EffectMap:
    """Effect of each site (at each role, or everywhere) on each answer step, for every prompt.

    `values` is metric of the patched run − metric of the base run. Steps a corruption is not about are NaN.
    """

    sites: tuple[Site, ...]
    roles: tuple[str | None, ...]
    step_names: tuple[str, ...]
    values: Float[Tensor, "site role batch step"]
    convention: Convention
    _index: dict[Site, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "_index", {site: i for i, site in enumerate(self.sites)})

    def _repr_html_(self) -> str:
        """Heat maps with their convention, for notebooks."""
        from cutaway.circuits.page.notebook import effects_html

        return effects_html(self)

    def mean(self) -> Float[Tensor, "site role step"]:
        return self.values.mean(2)

    def of(self, site: Site, role: str | None = None) -> Float[Tensor, "batch step"]:
        """One site's effects, prompt by prompt."""
        return self.values[self._index[site], self.roles.index(role)]

    def interval(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, low, high: `[site, role, step]` each."""
        return bootstrap(self.values.movedim(2, -1))

    def grid(self, step: int, role: str | None = None) -> Float[Tensor, "layer head"]:
        """Mean effects of heads as layers × heads (one column for sites without heads)."""
        heads = 1 + max(site.head or 0 for site in self.sites)
        grid = torch.full((1 + max(site.layer for site in self.sites), heads), torch.nan)
        means = self.mean()[:, self.roles.index(role), step]
        for site, value in zip(self.sites, means, strict=True):
            grid[site.layer, site.head or 0] = value
        return grid

    def total(self) -> Float[Tensor, " site"]:
        """How much each site matters: |mean effect|, the largest over roles, summed over the steps measured."""
        return self.mean().nan_to_num().abs().amax(1).sum(-1)

    def rows(self) -> list[dict]:
        """One flat record per site, role and step, for CSV and JSON."""
        mean, low, high = (x.tolist() for x in self.interval())
        return [
            {
                "site": str(site),
                "role": role or "all",
                "step": step,
                "effect": mean[s][r][t],
                "low": low[s][r][t],
                "high": high[s][r][t],
            }
            for s, site in enumerate(self.sites)
            for r, role in enumerate(self.roles)
            for t, step in enumerate(self.step_names)
            if mean[s][r][t] == mean[s][r][t]
        ]

    def to_dict(self) -> dict:
        return {"convention": asdict(self.convention), "effects": self.rows()}


@dataclass(frozen=True)
class EdgeMap:
    """Effect of each edge on each answer step, for every prompt; values and signs are those of `EffectMap`."""

    edges: tuple[Edge, ...]
    step_names: tuple[str, ...]
    values: Float[Tensor, "edge batch step"]
    convention: Convention

    def mean(self) -> Float[Tensor, "edge step"]:
        return self.values.mean(1)

    def of(self, edge: Edge) -> Float[Tensor, "batch step"]:
        """One edge's effects, prompt by prompt."""
        return self.values[self.edges.index(edge)]

    def signed(self) -> Float[Tensor, " edge"]:
        """Mean effect, summed over the steps measured: helping one token and hurting another cancel."""
        return self.mean().nan_to_num().sum(-1)

    def total(self) -> Float[Tensor, " edge"]:
        """How much each edge matters: |mean effect|, summed over the steps measured."""
        return self.mean().nan_to_num().abs().sum(-1)

    def rows(self) -> list[dict]:
        """One flat record per edge and step, for CSV and JSON."""
        mean, low, high = (x.tolist() for x in bootstrap(self.values.movedim(1, -1)))
        return [
            {"edge": str(edge), "step": step, "effect": mean[e][t], "low": low[e][t], "high": high[e][t]}
            for e, edge in enumerate(self.edges)
            for t, step in enumerate(self.step_names)
            if mean[e][t] == mean[e][t]
        ]
