"""Within one run: does an answer token use the heads of another, and which heads does one token alone need?"""

from dataclasses import dataclass
from itertools import combinations

from cutaway.circuits.circuit import CircuitHead
from cutaway.circuits.compare.effects import ALL
from cutaway.circuits.compare.rank import Agreement, agreement
from cutaway.circuits.compare.sides import Side
from cutaway.decoder import Site


@dataclass(frozen=True)
class StepPair:
    """Effects of all heads on two answer steps of one run; `ALL` for |effect| summed over corruptions."""

    run: str
    corruption: str
    a: str
    b: str
    found: Agreement


@dataclass(frozen=True)
class OneStep:
    """A head of the circuit that one answer step alone needs, and what dropping it costs there (mean, low, high)."""

    run: str
    site: Site
    role: str
    step: str
    cost: tuple[float, float, float]


def step_pairs(side: Side) -> tuple[StepPair, ...]:
    """Every pair of steps, over all corruptions together and for each that says something about both."""
    found = [
        StepPair(side.label, ALL, a, b, agreement(side.total(a), side.total(b)))
        for a, b in combinations(side.record.steps, 2)
    ]
    for corruption, measured in side.record.heads.items():
        for a, b in combinations(measured.steps, 2):
            made = agreement(side.effects(corruption, a), side.effects(corruption, b))
            found.append(StepPair(side.label, corruption, a, b, made))
    return tuple(found)


def for_one_step(side: Side) -> tuple[OneStep, ...]:
    """Heads whose loss costs one step something, and every other step less: the intervals of the cost do not meet.

    A head needed by two steps of three is not among them, nor one whose intervals are too wide to tell.
    """
    if len(side.record.steps) < 2:
        return ()
    found = ((head, _only(head)) for head in side.record.circuit.heads)
    return tuple(
        OneStep(side.label, head.site, head.role, side.record.steps[step], head.dropped[step])
        for head, step in found
        if step is not None
    )


def _only(head: CircuitHead) -> int | None:
    """The step whose cost lies above 0 and above those of all other steps, if there is one, and these do not lie above 0."""
    above = [step for step, (_, low, _) in enumerate(head.dropped) if low > 0]
    if len(above) != 1:
        return None
    (step,) = above
    others = [high for i, (_, _, high) in enumerate(head.dropped) if i != step]
    return step if head.dropped[step][1] > max(others) else None
