"""How right spans are if near misses count: the four ways of SemEval-2013, and MUC's two axes, as `nervaluate` counts them.

A span that is there and one that is found match if they share a word. What a match is worth depends on the way:

    strict    boundaries and type must be right            else incorrect
    exact     boundaries must be right                     else incorrect
    partial   boundaries right counts 1                    else ½, and nothing is incorrect
    type      the type must be right                       else incorrect

(Segura-Bedmar, Martínez & Herrero-Zazo 2013, after Chinchor & Sundheim 1993.) What matches nothing is missed or spurious.
MUC-6 (Grishman & Sundheim 1996; Li et al. 2020, §2.3.2) gives a span a point for its type and one for its text: precision and
recall over the points of both, `muc` here.

With correct C, partial P, and as many spans there as POS and found as ACT: precision (C + ½P) / ACT, recall (C + ½P) / POS.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.core.scores import Estimate, estimate_ratio
from cutaway.tagging.schemes import Span

WAYS = ("strict", "exact", "partial", "type")
COUNTS = ("correct", "incorrect", "partial", "missed", "spurious")


@dataclass(frozen=True)
class Matches:
    """What became of the spans, one way of counting; intervals are of the bootstrap over sentences."""

    correct: int
    incorrect: int
    partial: int
    missed: int
    spurious: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class Relaxed:
    """The four ways, and both of MUC's axes together."""

    strict: Matches
    exact: Matches
    partial: Matches
    type: Matches
    muc: Matches

    def to_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        lines = (
            f"{name:8s} F1 {x.f1}  P {x.precision.mean:.3f}  R {x.recall.mean:.3f}  "
            f"{x.correct} correct, {x.incorrect} incorrect, {x.partial} partial, {x.missed} missed, {x.spurious} spurious"
            for name, x in ((name, getattr(self, name)) for name in (*WAYS, "muc"))
        )
        return "\n".join(lines)


def relaxed(there: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]], *, type: str | None = None) -> Relaxed:
    """Scores of the spans found against those that are there, sentence by sentence.

    Args:
        type: count spans of this type alone, those of others being as if they were not.

    Raises:
        CutawayError: not as many sentences found as there, none at all, or `nervaluate` is not installed.
    """
    if len(there) != len(found) or not there:
        raise CutawayError(
            f"{len(there)} sentences are there and {len(found)} were found: give as many of both, at least 1"
        )
    if type is not None:
        there, found = ([[span for span in some if span.type == type] for some in x] for x in (there, found))
    counts = _counts(there, found)
    made = {way: _matches(counts[i]) for i, way in enumerate(WAYS)}
    # MUC's axes are the type, and the text, which is exact
    both = counts[WAYS.index("type")] + counts[WAYS.index("exact")]
    return Relaxed(**made, muc=_matches(both))


def _counts(there: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> Float[Tensor, "way count sentence"]:
    """By `nervaluate`'s strategies, one sentence at a time, so that sentences can be drawn again."""
    try:
        from nervaluate.entities import Entity
        from nervaluate.strategies import EntityTypeEvaluation, ExactEvaluation, PartialEvaluation, StrictEvaluation
    except ImportError as error:
        raise CutawayError("relaxed scores need nervaluate: install cutaway[text]") from error
    ways = [StrictEvaluation(), ExactEvaluation(), PartialEvaluation(), EntityTypeEvaluation()]
    made = torch.zeros(len(WAYS), len(COUNTS), len(there))
    for column, (some, others) in enumerate(zip(there, found, strict=True)):
        right = set(some) & set(others)
        # it takes them in order: whatever is wholly right comes first, so that a near miss cannot take its place
        lists = [
            [Entity(s.type, s.start, s.end - 1) for s in sorted(set(x), key=lambda s: (s not in right, s))]
            for x in (some, others)
        ]
        for row, way in enumerate(ways):
            result, _ = way.evaluate(*lists, tags=[])
            made[row, :, column] = torch.tensor([float(getattr(result, name)) for name in COUNTS])
    return made


def _matches(counts: Float[Tensor, "count sentence"]) -> Matches:
    correct, incorrect, partial, missed, spurious = counts
    worth = correct + partial / 2
    seen = correct + incorrect + partial
    return Matches(
        *(int(x) for x in counts.sum(1)),
        precision=estimate_ratio(worth, seen + spurious),
        recall=estimate_ratio(worth, seen + missed),
        f1=estimate_ratio(2 * worth, 2 * seen + spurious + missed),
    )
