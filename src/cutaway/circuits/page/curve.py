"""The build-up: the logit difference as heads are added, beside random circuits. Units are CSS pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cutaway.circuits.page.drawing import Dot
from cutaway.circuits.page.heat import Label
from cutaway.circuits.page.numbers import number
from cutaway.circuits.read import Point


@dataclass(frozen=True)
class Curve:
    """One panel of the build-up; `line` and `band` are SVG paths."""

    id: str
    steps: "Steps"
    about: str
    width: float
    height: float
    left: float
    right: float
    bottom: float
    line: str
    band: str
    points: Sequence[Dot]
    whole: float | None
    """Height of the dashed line of the whole model."""
    random: Sequence[Dot]
    labels: Sequence[Label]
    ticks: Sequence[Label]
    zero: float


@dataclass(frozen=True)
class Steps:
    """What a curve shows: names and points of the growing circuit, the whole model, random circuits."""

    title: str
    names: Sequence[str]
    points: Sequence[Point]
    whole: float | None
    random: Sequence[float]


def curve(id: str, steps: Steps, low: float, high: float) -> Curve:
    """Lays out one panel; `low` and `high` bound the axis, which all panels share."""
    n = len(steps.names)
    left, top, bottom = 34.0, 12.0, 190.0
    gap = min(max(250 / max(n - 1, 1), 9.0), 44.0)
    end = left + 8 + gap * (n - 1)

    def at(i: int) -> float:
        return round(left + 8 + gap * i, 1)

    def y(value: float) -> float:
        return round(bottom - (value - low) / ((high - low) or 1) * (bottom - top), 1)

    known = [(at(i), *map(y, p)) for i, p in enumerate(steps.points) if p]
    edge = [f"{x},{upper}" for x, _, _, upper in known] + [f"{x},{lower}" for x, _, lower, _ in reversed(known)]
    every = 1 if gap >= 10 else 2
    return Curve(
        id=id,
        steps=steps,
        about=_story(steps),
        width=end + 44,
        height=bottom + 46,
        left=left,
        right=end + 40,
        bottom=bottom,
        line="M" + "L".join(f"{x},{mean}" for x, mean, _, _ in known) if known else "",
        band="M" + "L".join(edge) + "z" if known else "",
        points=[
            Dot(at(i), y(p[0]), 2.6, f"{name}: {number(p[0])} [{number(p[1])}, {number(p[2])}]")
            for i, (name, p) in enumerate(zip(steps.names, steps.points, strict=True))
            if p
        ],
        whole=None if steps.whole is None else y(steps.whole),
        random=[
            Dot(round(end + 14 + 20 * (i % 5) / 4, 1), y(value), 2.4, f"random circuit {i + 1}: {number(value)}")
            for i, value in enumerate(steps.random)
        ],
        labels=[Label(left - 5, y(value), text) for value, text in _round_values(low, high)],
        ticks=[Label(at(i), bottom + 8, name) for i, name in enumerate(steps.names) if i % every == 0],
        zero=y(min(max(0.0, low), high)),
    )


def _story(steps: Steps) -> str:
    first, last = (p and p[0] for p in (steps.points[0], steps.points[-1]))
    best = max(steps.random, default=None)
    return (
        f"From {number(first)} with every head ablated to {number(last)} with the whole circuit; "
        f"the model has {number(steps.whole)}, the best of {len(steps.random)} random circuits {number(best)}."
    )


def bounds(steps: Sequence[Steps]) -> tuple[float, float]:
    """An axis on which everything of all panels has its place."""
    values = [x for s in steps for p in s.points if p for x in p]
    values += [x for s in steps for x in s.random] + [s.whole for s in steps if s.whole is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * ((high - low) or 1)
    return min(low - room, 0.0), max(high + room, 0.0)


def _round_values(low: float, high: float) -> list[tuple[float, str]]:
    """A few round numbers between the two, evenly spaced, and how they are written."""
    for digits, gap in (
        (2, 0.05),
        (1, 0.1),
        (1, 0.2),
        (1, 0.5),
        (0, 1),
        (0, 2),
        (0, 5),
        (0, 10),
        (0, 20),
        (0, 50),
        (0, 100),
    ):
        values = [float(v * gap) for v in range(math.ceil(low / gap), math.floor(high / gap) + 1)]
        if len(values) <= 7:
            return [(value, number(value, digits)) for value in values]
    return [(low, number(low)), (high, number(high))]
