"""Heads that two circuits share, beside what two sets of these sizes drawn at random would share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cutaway.decoder import Site

Roles = Mapping[Site, str]
"""The heads of a circuit, each with its role."""


@dataclass(frozen=True)
class Overlap:
    """Two circuits of models with the same number of heads.

    `expected` is the Jaccard index of random sets, on average; `p` the chance that such sets share as many heads or more.
    It says that the circuits were not drawn from a hat, not that they are the same: 1 would be the same heads.
    """

    a: str
    b: str
    shared: int
    union: int
    same_role: int
    """Shared heads that have the same role in both."""
    expected_shared: float
    expected: float
    p: float
    roles: dict[str, tuple[int, int, int]]
    """role → heads of it in a, in b, and in both with this role."""

    @property
    def jaccard(self) -> float:
        """|a ∩ b| / |a ∪ b|; of two empty circuits, 1."""
        return self.shared / self.union if self.union else 1.0


def overlap(a: tuple[str, Roles], b: tuple[str, Roles], n_heads: int) -> Overlap:
    """What two named circuits share, of `n_heads` heads that the model has."""
    (name, ours), (other, theirs) = a, b
    shared = ours.keys() & theirs.keys()
    law = chances(n_heads, len(ours), len(theirs))
    both = len(ours) + len(theirs)
    roles = sorted({*ours.values(), *theirs.values()})
    return Overlap(
        name,
        other,
        len(shared),
        both - len(shared),
        sum(ours[site] == theirs[site] for site in shared),
        expected_shared=sum(k * chance for k, chance in law.items()),
        expected=sum(chance * (k / (both - k) if both - k else 1.0) for k, chance in law.items()),
        p=min(sum(chance for k, chance in law.items() if k >= len(shared)), 1.0),
        roles={
            role: (
                sum(r == role for r in ours.values()),
                sum(r == role for r in theirs.values()),
                sum(ours[site] == theirs[site] == role for site in shared),
            )
            for role in roles
        },
    )


def chances(n: int, a: int, b: int) -> dict[int, float]:
    """How many elements random subsets of sizes a and b of n share: count → probability (the hypergeometric law)."""
    ways = math.comb(n, b)
    return {k: math.comb(a, k) * math.comb(n - a, b - k) / ways for k in range(max(0, a + b - n), min(a, b) + 1)}
