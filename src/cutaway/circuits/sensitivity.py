"""How much the faithfulness of one circuit moves when only the convention of measuring it does.

What stands in for the other heads, the direction, the metric and the prompts are choices, and scores made by different
choices do not compare (Miller, Chughtai & Saunders 2024, arXiv 2407.08734). So the circuit that was found is measured once
more under each of them: every row of the table changes one choice and keeps the others.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.engine import Engine, shared_past
from cutaway.circuits.isolation import Heads, Isolation
from cutaway.circuits.metrics import METRICS, scorer
from cutaway.circuits.reference import from_run
from cutaway.circuits.variant import Variant
from cutaway.circuits.verify import Faithfulness
from cutaway.core.scores import Estimate

ABLATIONS = ("mean", "resample", "zero")
DENOISING = "clean values"
"""What a denoising run puts in place of the circuit's heads; there it stands where the ablation does."""


@dataclass(frozen=True)
class Setting:
    """Faithfulness, one estimate per answer step, under one convention.

    Noising: the clean run with every other head ablated; 0 is all heads ablated, 1 the whole model. Denoising: the
    corrupted run with the circuit's heads at their clean values; 0 is the corrupted run, 1 the clean one.
    """

    changed: str
    """The choice in which it differs from the first setting: `nothing`, `ablation`, `direction`, `metric`, `prompts`."""
    ablation: str
    direction: Literal["noising", "denoising"]
    metric: str
    prompts: str
    n: int
    faithfulness: tuple[Estimate, ...]


@dataclass(frozen=True)
class Sensitivity:
    """The circuit under its own convention first, then under the others."""

    settings: tuple[Setting, ...]

    def ranges(self) -> tuple[tuple[float, float], ...]:
        """The lowest and the highest faithfulness of each answer step; NaN where none is finite."""
        columns = zip(*([e.mean for e in setting.faithfulness] for setting in self.settings), strict=True)
        known = [[x for x in column if isfinite(x)] or [float("nan")] for column in columns]
        return tuple((min(column), max(column)) for column in known)

    def to_dict(self) -> dict:
        return {"settings": [asdict(setting) for setting in self.settings], "ranges": self.ranges()}


def sensitivity(isolation: Isolation, heads: Heads, *, budget: int) -> Sensitivity:
    """Measures a circuit under every convention, on the prompts of `isolation`, whose own convention comes first.

    Args:
        budget: tokens in flight at once, for the runs that `isolation` cannot do.
    """
    metric, behavior = isolation.metric, isolation.behavior
    rows = [_Row("nothing", isolation.ablation, "noising", metric, "all", *_noised(isolation, heads, metric))]
    isolation.rest()  # the other ablations hold runs of their own
    for ablation in ABLATIONS:
        if ablation != isolation.ablation:
            other = Isolation(
                isolation.model, behavior, ablation=ablation, metric=metric, budget=budget, work=isolation.work
            )
            rows.append(_Row("ablation", ablation, "noising", metric, "all", *_noised(other, heads, metric)))
    rows.append(
        _Row("direction", DENOISING, "denoising", metric, "all", *_denoised(isolation, heads, metric, budget=budget))
    )
    for name in METRICS:
        if name != metric:
            rows.append(_Row("metric", isolation.ablation, "noising", name, "all", *_noised(isolation, heads, name)))
    return Sensitivity(tuple(row.setting() for row in (*rows, *_halves(rows[0], behavior))))


@dataclass(frozen=True)
class _Row:
    """A convention with its three measurements: of the circuit, of what counts as the whole model, and as nothing."""

    changed: str
    ablation: str
    direction: Literal["noising", "denoising"]
    metric: str
    prompts: str
    alone: Float[Tensor, "batch step"]
    full: Float[Tensor, "batch step"]
    empty: Float[Tensor, "batch step"]

    def setting(self) -> Setting:
        interval = Faithfulness(self.full, self.empty).interval(self.alone)
        about = (self.changed, self.ablation, self.direction, self.metric, self.prompts)
        return Setting(*about, n=len(self.full), faithfulness=interval)


Measured = tuple[Float[Tensor, "batch step"], Float[Tensor, "batch step"], Float[Tensor, "batch step"]]
"""The circuit, the whole, nothing."""


def _noised(isolation: Isolation, heads: Heads, metric: str) -> Measured:
    alone, empty = isolation.scores([heads, frozenset()], metric)
    return alone, isolation.full(metric), empty


def _denoised(isolation: Isolation, heads: Heads, metric: str, *, budget: int) -> Measured:
    """The corrupted run with these heads restored, the clean run, the corrupted run."""
    model, behavior = isolation.model, isolation.behavior
    past, score = shared_past(model, behavior), scorer(behavior)
    _, corrupt = behavior.corruptions[behavior.reference].runs[0]
    with torch.inference_mode():
        engine, source = (
            Engine(model, behavior, prompts, columns=score.columns, past=past, budget=budget)
            for prompts in (corrupt, behavior.clean)
        )
        base, clean = engine.trace(), source.trace()
        restored = engine.logits([Variant(heads)], from_run(engine, source, clean), base)[0]
    alone, full, empty = (score.measure(metric, x).float().cpu() for x in (restored, clean.logits, base.logits))
    return alone, full, empty


def _halves(row: _Row, behavior: Behavior) -> Iterator[_Row]:
    """The same measurements on either half of the prompts."""
    middle = len(behavior) // 2
    for name, part in (("first half", slice(0, middle)), ("second half", slice(middle, None))):
        if len(row.full[part]):
            halved = (row.alone[part], row.full[part], row.empty[part])
            yield _Row("prompts", row.ablation, row.direction, row.metric, name, *halved)
