"""Do the same heads matter in two runs? Agreement of the effects of all heads, for every corruption and answer step of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from cutaway.circuits.compare.rank import Agreement, agreement
from cutaway.circuits.compare.sides import Side

ALL = "all, summed"
"""In place of a corruption and a step: |effect|, summed over them."""


@dataclass(frozen=True)
class Correlation:
    """Two runs on one corruption and step; `ALL` for |effect| summed over everything each run has measured."""

    a: str
    b: str
    corruption: str
    step: str
    found: Agreement


def between(same: Sequence[Side]) -> tuple[Correlation, ...]:
    """Every pair of runs of one shape."""
    return tuple(correlation for a, b in combinations(same, 2) for correlation in _pair(a, b))


def _pair(a: Side, b: Side) -> list[Correlation]:
    found = [Correlation(a.label, b.label, ALL, ALL, agreement(a.total(), b.total()))]
    for corruption, measured in a.record.heads.items():
        theirs = b.record.heads.get(corruption)
        for step in measured.steps:
            if theirs and step in theirs.steps:
                made = agreement(a.effects(corruption, step), b.effects(corruption, step))
                found.append(Correlation(a.label, b.label, corruption, step, made))
    return found
