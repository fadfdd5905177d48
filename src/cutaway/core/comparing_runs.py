"""Finished runs side by side: settings and facts that differ, scores, and how far each lies from the first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance
from typing import Any

from cutaway.core.errors import CutawayError
from cutaway.core.estimates import Estimate, OverSeeds
from cutaway.core.numbers import Score, flat, value
from cutaway.core.reading_runs import FinishedRun, is_seed

UNTOLD = ("command", "made")
"""Facts of a manifest that differ between any two runs and say nothing."""


@dataclass(frozen=True)
class Difference:
    """A run's score less the first's; with its 95 % interval where that can be told."""

    mean: int | float
    """Whole, if it is one of counts."""
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        told = f"{self.mean:+d}" if isinstance(self.mean, int) else f"{self.mean:+.4f}"
        return (told if self.low is None else f"{told} [{self.low:+.4f}, {self.high:+.4f}]").replace("-", "−")

    def to_dict(self) -> dict:
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Comparison:
    """Tables by dotted name, each with a value for every run; None is what a run does not have."""

    runs: tuple[FinishedRun, ...]
    settings: dict[str, tuple[Any, ...]]
    """Those that differ."""
    facts: dict[str, tuple[Any, ...]]
    """What manifests say otherwise than each other: versions, hardware, data, time."""
    scores: dict[str, tuple[Score | None, ...]]
    """Those that at least two runs have."""
    differences: dict[str, tuple[Difference | None, ...]]
    """From the first run."""
    warnings: tuple[str, ...]
    """Why the scores do not compare."""
    notes: tuple[str, ...]
    """How intervals are meant."""


def compare_runs(runs: Sequence[FinishedRun]) -> Comparison:
    """Runs side by side; the first is what the others are compared with.

    Raises:
        CutawayError: fewer than two.
    """
    if len(runs) < 2:
        raise CutawayError("a comparison takes at least two runs: `cutaway runs compare RUN RUN`")
    scores = _beside([run.scores for run in runs])
    scores = {name: some for name, some in scores.items() if sum(x is not None for x in some) > 1}
    differences = {name: tuple(difference(some[0], x) for x in some[1:]) for name, some in scores.items()}
    return Comparison(
        runs=tuple(runs),
        settings=_differing(_beside([_settings(run) for run in runs])),
        facts=_differing(_beside([_facts(run) for run in runs])),
        scores=scores,
        differences={name: (None, *some) for name, some in differences.items()},
        warnings=tuple(_warnings(runs)),
        notes=tuple(_notes(runs, scores)),
    )


def difference(first: Score | None, other: Score | None) -> Difference | None:
    """The other less the first; of two that were each measured with several seeds, with Welch's interval."""
    if first is None or other is None:
        return None
    if isinstance(first, OverSeeds) and isinstance(other, OverSeeds) and min(len(first.values), len(other.values)) > 1:
        return Difference(other.mean - first.mean, *welch(first.values, other.values))
    if isinstance(first, int) and isinstance(other, int):
        return Difference(other - first)
    return Difference(value(other) - value(first))


def welch(first: Sequence[float], other: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The interval of mean(other) − mean(first) for samples of unequal variance (Welch 1947, Biometrika 34).

    Args:
        first, other: at least two values each; where neither varies, the interval is the difference itself.
    """
    apart = math.fsum(other) / len(other) - math.fsum(first) / len(first)
    if not math.isfinite(apart):
        return math.nan, math.nan
    a, b = variance(first) / len(first), variance(other) / len(other)
    if a + b == 0:
        return apart, apart
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(other) - 1))
    half = t_quantile(0.5 + level / 2, freedom) * math.sqrt(a + b)
    return apart - half, apart + half


def t_quantile(p: float, freedom: float) -> float:
    """The p-quantile of Student's t, for 0.5 ≤ p < 1 and any number of degrees of freedom from 1 on.

    With t = √ν tan θ the density becomes proportional to cos^(ν−1) θ, so that P(|T| ≤ t) is a smooth integral over [0, θ]. It
    is concave: Newton's steps from 0 come ever nearer and never go too far.
    """
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    angle, step = 0.0, 1.0
    while step > 1e-12:
        inside = simpson([math.cos(angle * i / 200) ** (freedom - 1) for i in range(201)], angle)
        step = ((2 * p - 1) * whole - inside) / math.cos(angle) ** (freedom - 1)
        angle += step
    return math.sqrt(freedom) * math.tan(angle)


def simpson(values: Sequence[float], end: float) -> float:
    """The integral from 0 to `end` of what has these values at points equally far apart, an odd number of them."""
    first, *inner, last = values
    return (first + math.fsum((4, 2)[i % 2] * x for i, x in enumerate(inner)) + last) * end / (3 * (len(values) - 1))


def _beside(tables: Sequence[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: tuple(table.get(name) for table in tables) for name in names}


def _differing(table: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {name: some for name, some in table.items() if any(x != some[0] for x in some)}


def _settings(run: FinishedRun) -> dict[str, Any]:
    """Without the seed, which is among the facts as well, and there of several seeds too."""
    return {name: x for name, x in run.config.items() if run.manifest.get("seed") is None or not is_seed(name)}


def _facts(run: FinishedRun) -> dict[str, Any]:
    return {name: x for name, x in flat(run.manifest).items() if name not in UNTOLD}


def _warnings(runs: Sequence[FinishedRun]) -> list[str]:
    hashes = _beside([run.data_hashes for run in runs])
    return [
        f"the data are not the same ({name} differs): scores are not comparable"
        if None not in some
        else f"not every run says which data it saw ({name}): scores may not be comparable"
        for name, some in _differing(hashes).items()
    ]


def _notes(runs: Sequence[FinishedRun], scores: dict[str, tuple[Score | None, ...]]) -> list[str]:
    """How the intervals of these scores are meant."""
    notes = []
    estimates = [[x for x in some if isinstance(x, Estimate)] for some in scores.values()]
    shared = any(len(some) > 1 and len({x.n for x in some}) == 1 for some in estimates)
    if shared and not _warnings(runs):
        notes.append(
            "intervals are unpaired: each is of one run alone. On the same samples a difference can be real although they overlap; "
            "outcomes sample by sample, which would tell, are not kept"
        )
    several = [len(run.seeds) for run in runs if run.seeds]
    if several and scores:
        notes.append("mean ± standard deviation over seeds")
    if len(several) > 1 and scores:
        notes.append(
            "differences of means over seeds have Welch's 95 % interval, unpaired; it says nothing of other test samples"
        )
    return notes
