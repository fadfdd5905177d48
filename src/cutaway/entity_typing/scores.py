"""How right sets of types are: the published protocol of Ultra-Fine, with intervals.

Of a mention i with the types Gᵢ the types Ŷᵢ are said (Ling & Weld 2012, Fine-grained entity recognition, §4; with the denominators
of Choi et al. 2018, whose script and the Label Reasoning Network's agree):

    macro   P = mean over i with Ŷᵢ ≠ ∅ of |Gᵢ ∩ Ŷᵢ| / |Ŷᵢ|     R = mean over i with Gᵢ ≠ ∅ of |Gᵢ ∩ Ŷᵢ| / |Gᵢ|
    micro   P = Σᵢ |Gᵢ ∩ Ŷᵢ| / Σᵢ |Ŷᵢ|                           R = Σᵢ |Gᵢ ∩ Ŷᵢ| / Σᵢ |Gᵢ|

F1 is 2PR / (P + R), also for macro: of the two means, not a mean of F1s. *Accuracy* is the share of mentions with Gᵢ = Ŷᵢ (strict).
So a mention of which nothing is said costs recall and no precision; one that has no types costs precision if something is said.
A ratio with nothing below is 0. The same is measured among the types of each group, and among those that training has shown never,
1–5, 6–20 times, or more: G and Ŷ are then what they have of these. Everything is a ratio of sums over mentions, so that all
resamples of the bootstrap are one product of matrices.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.core.scores import Estimate, estimates
from cutaway.entity_typing.type_list import TypeList

PROTOCOL = (
    "Ultra-Fine's: macro precision over mentions with predictions, macro recall over mentions with types, F1 of the two; micro "
    "over all types; strict accuracy; intervals: bootstrap over mentions, 95 %"
)
SEEN = {"never": 0, "1–5": 5, "6–20": 20, "more than 20": None}
"""How often training has shown a type: at most so often, and more than those before."""

TOTAL = "total"
"""Of the parts that are measured, the first; others are "group fine", "seen 1–5"."""

Types = Collection[str]
Statistics = Callable[[Float[Tensor, "resample mention"]], Mapping[str, Float[Tensor, " resample"]]]


@dataclass(frozen=True)
class Match:
    """Of what is said, how much is right; of what is there, how much is said; and both."""

    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class PartScores:
    """Among all types, or some."""

    macro: Match
    micro: Match
    there: int
    """Types to be found, over all mentions."""
    said: int
    right: int
    mentions_there: int
    """Mentions that have any."""
    mentions_said: int
    """Mentions of which any is said."""


@dataclass(frozen=True)
class Scores:
    """Of types said of some mentions."""

    n: int
    protocol: str
    accuracy: Estimate
    total: PartScores
    by_group: dict[str, PartScores]
    """From coarse to fine, as far as the list has groups."""
    by_seen: dict[str, PartScores]
    """By how often training has shown the type."""

    def means(self) -> dict[str, float]:
        """The main numbers without their intervals."""
        told = {f"{mean}_{name}": getattr(getattr(self.total, mean), name).mean for mean in MEANS for name in NAMES}
        return {"accuracy": self.accuracy.mean, **told}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


MEANS, NAMES = ("macro", "micro"), ("precision", "recall", "f1")


def score(
    there: Sequence[Types], said: Sequence[Types], types: TypeList, seen: Mapping[str, int] | None = None
) -> Scores:
    """All scores.

    Args:
        there, said: the types of each mention, and those that are said of it. They are sets: order and repetition do not count.
        types: says the groups.
        seen: how often training shows each type; None: nothing is told by it.

    Raises:
        CutawayError: no mentions, or not as many predictions.
    """
    _check(there, said)
    groups, times = types.order, [name for name in SEEN if seen is not None]
    parts = [TOTAL, *(f"group {name}" for name in groups), *(f"seen {name}" for name in times)]
    table = _table(there, said, parts, _parts_of(types, seen))
    sums = table.sum(0).long()
    found = estimates(_statistics(table, _exact(there, said), parts), len(there))
    made = {part: _part_scores(found, part, sums[:, k].tolist()) for k, part in enumerate(parts)}
    return Scores(
        n=len(there),
        protocol=PROTOCOL,
        accuracy=found["accuracy"],
        total=made[TOTAL],
        by_group={name: made[f"group {name}"] for name in groups},
        by_seen={name: made[f"seen {name}"] for name in times},
    )


def quick(there: Sequence[Types], said: Sequence[Types]) -> dict[str, float]:
    """The main numbers alone, as often as one likes; names and errors as of `Scores.means` and `score`."""
    _check(there, said)
    statistics = _statistics(_table(there, said, [TOTAL], lambda _: [TOTAL]), _exact(there, said), [TOTAL])
    told = statistics(torch.ones(1, len(there), dtype=torch.float64))
    return {name.removeprefix(f"{TOTAL} "): value.item() for name, value in told.items()}


def seen_part(times: int) -> str:
    """The part of `SEEN` for a type that training has shown so often."""
    return next(name for name, most in SEEN.items() if most is None or times <= most)


def _parts_of(types: TypeList, seen: Mapping[str, int] | None) -> Callable[[str], list[str]]:
    """To which parts a type belongs."""

    def parts(name: str) -> list[str]:
        groups = [f"group {group}"] if (group := types.group(name)) else []
        return [TOTAL, *groups, *([f"seen {seen_part(seen.get(name, 0))}"] if seen is not None else [])]

    return parts


def _table(
    there: Sequence[Types], said: Sequence[Types], parts: Sequence[str], parts_of: Callable[[str], list[str]]
) -> Float[Tensor, "mention sum part"]:
    """Of each mention and part, what is summed: right, said, there, right / said, any said, right / there, any there."""
    asked, given = ([set(some) for some in each] for each in (there, said))
    columns = {name: [parts.index(part) for part in parts_of(name)] for name in set().union(*asked, *given)}

    def counts(sets: Sequence[set[str]]) -> Float[Tensor, "mention part"]:
        places = [(i, k) for i, some in enumerate(sets) for name in some for k in columns[name]]
        made = torch.zeros(len(sets), len(parts), dtype=torch.float64)
        rows, ks = torch.tensor(places, dtype=torch.long).reshape(-1, 2).T
        return made.index_put_((rows, ks), torch.ones(len(places), dtype=torch.float64), accumulate=True)

    right, says, asks = (counts(sets) for sets in ([a & b for a, b in zip(asked, given, strict=True)], given, asked))
    any_said, any_there = (some.clamp_max(1) for some in (says, asks))
    return torch.stack([right, says, asks, _ratio(right, says), any_said, _ratio(right, asks), any_there], 1)


def _statistics(
    table: Float[Tensor, "mention sum part"], exact: Float[Tensor, " mention"], parts: Sequence[str]
) -> Statistics:
    n = len(table)

    def statistics(counts: Float[Tensor, "resample mention"]) -> dict[str, Float[Tensor, " resample"]]:
        each = (counts @ table.reshape(n, -1)).reshape(-1, *table.shape[1:])
        right, says, asks, precise, any_said, recalled, any_there = each.unbind(1)
        told = {"accuracy": counts @ exact / counts.sum(-1)}
        pairs = {
            "macro": (_ratio(precise, any_said), _ratio(recalled, any_there)),
            "micro": (_ratio(right, says), _ratio(right, asks)),
        }
        for mean, (p, r) in pairs.items():
            three = {"precision": p, "recall": r, "f1": _ratio(2 * p * r, p + r)}
            told |= {f"{part} {mean}_{name}": x[:, k] for name, x in three.items() for k, part in enumerate(parts)}
        return told

    return statistics


def _part_scores(found: Mapping[str, Estimate], part: str, sums: Sequence[int]) -> PartScores:
    macro, micro = (Match(**{name: found[f"{part} {mean}_{name}"] for name in NAMES}) for mean in MEANS)
    right, said, there, _, any_said, _, any_there = sums
    return PartScores(macro, micro, there, said, right, any_there, any_said)


def _exact(there: Sequence[Types], said: Sequence[Types]) -> Float[Tensor, " mention"]:
    same = [float(set(a) == set(b)) for a, b in zip(there, said, strict=True)]
    return torch.tensor(same, dtype=torch.float64)


def _ratio(above: Float[Tensor, "*axes"], below: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """0 where there is nothing below."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1), 0)


def _check(there: Sequence[Types], said: Sequence[Types]) -> None:
    if not len(there):
        raise CutawayError("there are no mentions to measure: give at least one with its types")
    if len(said) != len(there):
        raise CutawayError(f"{len(there)} mentions and {len(said)} predictions: give one for each, if only none ([])")
