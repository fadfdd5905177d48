"""Is it the circuit? Faithfulness, completeness, minimality, and circuits of the same size drawn at random as the null.

Everything is measured on prompts that the search has not seen. Wang et al. 2022 (arXiv 2211.00593, §4) name the criteria.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.isolation import Heads, Isolation
from cutaway.core.scores import Estimate, estimate
from cutaway.decoder import Site


@dataclass(frozen=True)
class Verification:
    """One `Estimate` per answer step, unless said otherwise. Faithfulness is 0 with every head ablated, 1 for the model."""

    n: int
    n_heads: int
    """Heads of the whole model."""
    ablation: str
    model: dict[str, tuple[Estimate, ...]]
    """metric → the whole model."""
    circuit: dict[str, tuple[Estimate, ...]]
    """metric → the circuit alone."""
    empty: tuple[Estimate, ...]
    """Logit difference with every head ablated."""
    faithfulness: tuple[Estimate, ...]
    complement: tuple[Estimate, ...]
    """Faithfulness of the model without the circuit: near 0 if the circuit is complete."""
    incompleteness: tuple[Estimate, ...]
    """|faithfulness(circuit − K) − faithfulness(model − K)|, mean over random parts K of the circuit: near 0 if complete."""
    minimality: dict[Site, tuple[Estimate, ...]]
    """head → faithfulness lost when it is dropped from the circuit."""
    random_circuits: tuple[tuple[float, ...], ...]
    """Faithfulness of each random circuit of the same size, step by step."""
    buildup: tuple[tuple[str, tuple[Estimate, ...]], ...]
    """Logit difference as heads are added one at a time, from none to all of the circuit (the paper's figure 8)."""


def verify(
    isolation: Isolation,
    heads: Heads,
    *,
    order: Sequence[Site],
    n_random: int = 20,
    n_parts: int = 6,
    seed: int = 0,
    tick: Callable[[int], None] = lambda done: None,
) -> Verification:
    """Puts a circuit to every test, on the isolation's prompts.

    Args:
        order: heads, the most important first: the order of the build-up.
        tick: called with the number of circuits just measured, of `cost(...)` in all.
    """
    rng = random.Random(seed)
    pool = sorted(isolation.every_head, key=lambda site: (site.layer, site.head))
    ordered = [site for site in order if site in heads]
    parts = [frozenset(rng.sample(ordered, max(1, len(ordered) // 2))) for _ in range(n_parts)]
    drawn = [frozenset(rng.sample(pool, len(heads))) for _ in range(n_random)]

    def measured(circuits: list[Heads], near: Heads) -> Float[Tensor, "circuit batch step"]:
        isolation.base(near)
        scores = isolation.scores(circuits)
        tick(len(circuits))
        return scores

    full, empty = isolation.full(), isolation.empty()
    alone = measured([heads], heads)[0]
    dropped = measured([heads - {site} for site in ordered], heads)
    less = measured([heads - part for part in parts], heads)
    added = measured([frozenset(ordered[:i]) for i in range(len(ordered) + 1)], frozenset())
    nulls = measured(drawn, frozenset())
    without = measured(
        [isolation.every_head - heads, *(isolation.every_head - part for part in parts)], isolation.every_head
    )

    faith = Faithfulness(full, empty)
    gaps = (less.mean(1) - without[1:].mean(1)).abs() / (full.mean(0) - empty.mean(0))
    return Verification(
        n=len(full),
        n_heads=len(pool),
        ablation=isolation.ablation,
        model={metric: per_step(isolation.full(metric)) for metric in ("logit_diff", "correct")},
        circuit={"logit_diff": per_step(alone), "correct": per_step(isolation.scores([heads], "correct")[0])},
        empty=per_step(empty),
        faithfulness=faith.interval(alone),
        complement=faith.interval(without[0]),
        incompleteness=tuple(estimate(gaps[:, step]) for step in range(full.shape[1])),
        minimality={site: faith.interval(alone, minus=score) for site, score in zip(ordered, dropped, strict=True)},
        random_circuits=tuple(tuple(row) for row in isolation.faithfulness(nulls).tolist()),
        buildup=tuple(("none" if i == 0 else f"+{ordered[i - 1]}", per_step(score)) for i, score in enumerate(added)),
    )


def cost(size: int, *, n_random: int = 20, n_parts: int = 6) -> int:
    """Circuits that `verify` measures for a circuit of `size` heads."""
    return 1 + size + n_parts + (size + 1) + n_random + 1 + n_parts


def per_step(values: Float[Tensor, "batch step"]) -> tuple[Estimate, ...]:
    """A mean with its interval for each answer step."""
    return tuple(estimate(values[:, step]) for step in range(values.shape[1]))


class Faithfulness:
    """(score − empty) / (full − empty) of the means, with the bootstrap over prompts of the whole ratio."""

    def __init__(self, full: Float[Tensor, "batch step"], empty: Float[Tensor, "batch step"]):
        self.full, self.empty = full, empty

    def interval(self, score: Tensor, minus: Tensor | None = None) -> tuple[Estimate, ...]:
        over = score - (self.empty if minus is None else minus)
        n = len(over)
        generator = torch.Generator().manual_seed(0)
        draws = torch.randint(n, (1000, n), generator=generator)
        ratios = over[draws].mean(1) / (self.full - self.empty)[draws].mean(1)
        low, high = ratios.quantile(torch.tensor([0.025, 0.975]), dim=0)
        mean = over.mean(0) / (self.full - self.empty).mean(0)
        points = zip(mean.tolist(), low.tolist(), high.tolist(), strict=True)
        return tuple(Estimate(middle, bottom, top, n) for middle, bottom, top in points)
