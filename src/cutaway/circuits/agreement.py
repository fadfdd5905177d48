"""How far a method's estimates agree with exact effects: head by head, edge by edge, on the same prompts.

Both numbers are means over prompts of one effect on one answer token, with one sign, so they compare as they are. Beside their
correlation (Pearson), what a screen needs is the order (Spearman) and the top: how many of the heads that matter most the
estimate has among as many of its own.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.effects import Convention, EdgeMap, EffectMap
from cutaway.circuits.paths import path_patch
from cutaway.circuits.search.ranking import NOISE
from cutaway.circuits.search.record import Method, Options, Problem, Say, methods, silent
from cutaway.circuits.variant import head_sites
from cutaway.core.errors import CutawayError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MATTERS = 0.1
"""A part matters if its exact effects have at least this share of the size of the largest."""


@dataclass(frozen=True)
class Point:
    """One head, or edge, under one corruption, on one answer token: mean effects over prompts, in units of the metric."""

    part: str
    corruption: str
    step: str
    exact: float
    estimate: float


@dataclass(frozen=True)
class Agreement:
    """A method's estimates beside exact effects. `edges` is empty if none were asked for."""

    method: str
    heads: tuple[Point, ...]
    edges: tuple[Point, ...]
    convention: Convention
    """Of the estimates."""

    def summary(self) -> dict[str, dict[str, int | float]]:
        """heads, edges → n, pearson, spearman, top; the latter two of sizes, summed over tokens and corruptions."""
        return {kind: measures(points) for kind, points in (("heads", self.heads), ("edges", self.edges)) if points}

    def rows(self) -> list[dict]:
        """Every point, for CSV."""
        return [{"kind": kind, **asdict(p)} for kind in ("heads", "edges") for p in getattr(self, kind)]

    def to_dict(self) -> dict:
        summary = self.summary()
        largest = {kind: [asdict(p) for p in _furthest(getattr(self, kind))] for kind in summary}
        return {"method": self.method, "convention": asdict(self.convention), "summary": summary, "largest": largest}


def agreement(
    problem: Problem, method: Method, options: Options | None = None, *, edges: int = 0, tick: Say = silent
) -> Agreement:
    """Estimates of a method beside the exact effects of all heads, and of some edges.

    Edges of which some are estimated (`eap`, `eap_ig`) sum to an estimate of the head that they leave.

    Args:
        edges: how many edges are patched exactly, half of them the strongest by the estimate and half drawn from the others
            by `problem.seed`; for methods that estimate edges.

    Raises:
        CutawayError: a method that estimates no effects.
    """
    if method.estimate is None:
        able = ", ".join(name for name, known in methods().items() if known.estimate)
        raise CutawayError(
            f"method {method.name!r} estimates no effects that exact ones could be held against: {able} do"
        )
    maps = method.estimate(problem, options or method.options())
    tick(f"estimated by {method.name}")
    of_heads = {name: _of_heads(problem, found) for name, found in maps.items()}
    exact = problem.effects
    tick("every head patched")
    points = [p for name in maps for p in _head_points(problem, name, exact[name], of_heads[name])]
    some = {name: found for name, found in maps.items() if isinstance(found, EdgeMap)}
    pairs = _edge_points(problem, some, edges, tick) if edges and some else ()
    return Agreement(method.name, tuple(points), tuple(pairs), problem.convention(method.kind))


def _of_heads(problem: Problem, found: EffectMap | EdgeMap) -> Float[Tensor, "head batch step"]:
    heads = head_sites(problem.model)
    if isinstance(found, EffectMap):
        return torch.stack([found.of(head) for head in heads])
    row = {head: i for i, head in enumerate(heads)}
    total = torch.zeros(len(heads), *found.values.shape[1:])
    for edge, value in zip(found.edges, found.values, strict=True):
        if edge.sender in row:
            total[row[edge.sender]] += value
    return total


def _head_points(problem: Problem, name: str, exact: EffectMap, estimate: Tensor) -> Iterator[Point]:
    for head, guess in zip(head_sites(problem.model), estimate, strict=True):
        yield from _points(str(head), name, problem, exact.of(head), guess)


def _points(part: str, corruption: str, problem: Problem, exact: Tensor, estimate: Tensor) -> Iterator[Point]:
    """One for each answer token that the corruption is about."""
    for step, true, guess in zip(
        problem.behavior.step_names, exact.mean(0).tolist(), estimate.mean(0).tolist(), strict=True
    ):
        if true == true:
            yield Point(part, corruption, step, true, guess)


def _edge_points(problem: Problem, maps: Mapping[str, EdgeMap], count: int, tick: Say) -> Iterator[Point]:
    for name, found in maps.items():
        order = found.total().argsort(descending=True, stable=True).tolist()
        top, rest = order[: count // 2], order[count // 2 :]
        drawn = random.Random(problem.seed).sample(rest, min(count - len(top), len(rest)))
        chosen = [found.edges[i] for i in (*top, *drawn)]
        exact = path_patch(problem.model, problem.behavior, name, edges=chosen, work=problem.work, **problem.how)
        tick(f"{len(chosen)} edges patched: {name}")
        for i, edge, true in zip((*top, *drawn), chosen, exact.values, strict=True):
            yield from _points(str(edge), name, problem, true, found.values[i])


def _furthest(points: Sequence[Point], count: int = 5) -> list[Point]:
    """Where estimate and exact effect differ most."""
    return sorted(points, key=lambda p: -abs(p.exact - p.estimate))[:count]


# --- in numbers -------------------------------------------------------------------------------------------------------


def measures(points: Sequence[Point]) -> dict[str, int | float]:
    """Correlation of the numbers; of the sizes of each part, correlation of the order and agreement of the top.

    `top` is the share of the parts that matter (whose exact size is at least `MATTERS` of the largest) which stand among as many
    of the largest estimates.
    """
    exact, estimate = (torch.tensor([getattr(p, kind) for p in points]) for kind in ("exact", "estimate"))
    true, guess = _sizes(points, "exact"), _sizes(points, "estimate")
    mattering = int((true > MATTERS * true.max()).sum())
    best = [set(size.argsort(descending=True, stable=True)[:mattering].tolist()) for size in (true, guess)]
    return {
        "n": len(points),
        "parts": len(true),
        "pearson": correlation(exact, estimate),
        "spearman": correlation(ranks(true), ranks(guess)),
        "top": len(best[0] & best[1]) / mattering if mattering else float("nan"),
    }


def _sizes(points: Sequence[Point], kind: str) -> Float[Tensor, " part"]:
    total: dict[str, int | float] = {}
    for p in points:
        total[p.part] = total.get(p.part, 0.0) + abs(getattr(p, kind))
    sizes = torch.tensor(list(total.values()))
    return torch.where(sizes > NOISE, sizes, 0.0)  # rounding has no order


def correlation(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """Pearson's; nan if one of them does not vary."""
    x, y = (v.double() - v.double().mean() for v in (x, y))
    return float((x @ y) / (x.norm() * y.norm()))


def ranks(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """From the smallest, equal values sharing their mean rank: Pearson's correlation of these is Spearman's."""
    _, inverse, counts = x.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return (last - (counts - 1) / 2)[inverse].float()


HEADER = ("method", "parts", "numbers", "Pearson", "Spearman of sizes", "top")


def table(found: Sequence[Agreement]) -> list[tuple[str, ...]]:
    """One row a method and kind of part, for a terminal."""
    return [
        (
            each.method,
            f"{m['parts']} {kind}",
            str(m["n"]),
            f"{m['pearson']:.2f}",
            f"{m['spearman']:.2f}",
            f"{m['top']:.0%}",
        )
        for each in found
        for kind, m in each.summary().items()
    ]


# --- in a figure ------------------------------------------------------------------------------------------------------


def scatter(found: Agreement) -> "Figure":
    """Estimate over exact effect, a panel for each corruption; the line is where they are equal. Draw it in `figures.STYLE`."""
    from cutaway.circuits.figures import BLUE, MUTED, ORANGE, Sheet

    names = list(dict.fromkeys(p.corruption for p in found.heads))
    kinds = [kind for kind in ("heads", "edges") if getattr(found, kind)]
    sheet = Sheet.make(len(kinds), len(names), (2.4, 2.4), f"{found.method} beside exact effects")
    for kind, row in zip(kinds, sheet.axes, strict=True):
        for name, axis in zip(names, row, strict=True):
            points = [p for p in getattr(found, kind) if p.corruption == name]
            ends = [f([v for p in points for v in (p.exact, p.estimate)], default=0.0) for f in (min, max)]
            axis.plot(ends, ends, color=MUTED, linewidth=0.7, zorder=0)
            color = BLUE if kind == "heads" else ORANGE
            axis.plot(
                [p.exact for p in points], [p.estimate for p in points], "o", color=color, markersize=2.5, alpha=0.7
            )
            for p in _largest(points):
                axis.annotate(p.part, (p.exact, p.estimate), fontsize=5.5, xytext=(2, 2), textcoords="offset points")
            axis.set(title=f"{kind}: {name}", xlabel="exact effect", ylabel="estimate")
    sheet.figure.supxlabel(str(found.convention), x=0.01, ha="left", fontsize=6.5, color=MUTED, wrap=True)
    return sheet.figure


def _largest(points: Sequence[Point], count: int = 5) -> list[Point]:
    """What is worth a name: the largest exact effect of each part, and of these the largest."""
    best: dict[str, Point] = {}
    for p in sorted(points, key=lambda p: -abs(p.exact)):
        if abs(p.exact) > NOISE:
            best.setdefault(p.part, p)
    return list(best.values())[:count]
