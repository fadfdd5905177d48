"""Geometry of the drawings that the page's templates put out as inline SVG. Units are CSS pixels.

Layers run from left to right and heads from top to bottom in all of them, as in the figures.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cutaway.circuits.page.numbers import number
from cutaway.circuits.read import Point

FAINT = 0.01
"""Cells weaker than this share of the scale are not drawn: nobody could see them."""

LETTER_WIDTH = 6.6
"""Of the small text on axes, about."""

WIDTH = 345.0
"""Of a heat map, so that three of them stand side by side; with very many layers it becomes wider, with few narrower."""


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Cell:
    """A square of a heat map: `kind` (`neg`, `pos` or `amount`) is its colour, `opacity` how much of it."""

    x: float
    y: float
    kind: str
    opacity: float
    tip: str


@dataclass(frozen=True)
class Grid:
    """What a heat map shows: points by row and column, and what each cell is called."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    points: Sequence[Sequence[Point]]
    called: Callable[[int, int], str]
    across: str = "layer"
    outlined: frozenset[tuple[int, int]] = frozenset()
    amount: bool = False
    """Values are shares of one, not effects with a sign."""


@dataclass(frozen=True)
class HeatMap:
    title: str
    about: str
    """Its strongest cells in words, for those who do not see it."""
    width: float
    height: float
    left: float
    top: float
    side: float
    across: str
    inner: tuple[float, float]
    """Width and height of the field of cells."""
    cells: Sequence[Cell]
    outlines: Sequence[tuple[float, float]]
    labels: Sequence[Label]
    """Of the rows, to be set right-aligned."""
    ticks: Sequence[Label]
    """Of the columns, to be centred."""


def heat_map(grid: Grid, limit: float, *, side: float | None = None) -> HeatMap:
    """Lays out one map; ±`limit` are the ends of its colour scale."""
    n_columns, n_rows = len(grid.columns), len(grid.rows)
    left, top = 8 + LETTER_WIDTH * max(map(len, grid.rows), default=0), 4.0
    side = side or min(max((WIDTH - left) / max(n_columns, 1), 9.0), 24.0)
    every = 1 if side > LETTER_WIDTH * max(map(len, grid.columns), default=0) + 3 else 5
    every_row = 1 if side > 10 or n_rows <= 20 else 5
    seen = [
        Cell(
            left + c * side, top + r * side, _kind(grid, p[0]), round(abs(p[0]) / limit, 2), _tip(grid.called(r, c), *p)
        )
        for r, row in enumerate(grid.points)
        for c, p in enumerate(row)
        if p and limit and abs(p[0]) / limit >= FAINT
    ]
    strongest = [cell.tip for cell in sorted(seen, key=lambda cell: -cell.opacity)[:3]]
    inner = n_columns * side, n_rows * side
    return HeatMap(
        title=grid.title,
        about=f"Strongest: {'; '.join(strongest)}." if strongest else "Nothing above 1% of the scale.",
        width=left + inner[0] + 4,
        height=top + inner[1] + (32 if grid.across else 18),
        left=left,
        top=top,
        side=side,
        across=grid.across,
        inner=inner,
        cells=seen,
        outlines=[(left + c * side, top + r * side) for r, c in sorted(grid.outlined)],
        labels=[
            Label(left - 5, top + (r + 0.5) * side, name) for r, name in enumerate(grid.rows) if r % every_row == 0
        ],
        ticks=[
            Label(left + (c + 0.5) * side, top + inner[1] + 12, name)
            for c, name in enumerate(grid.columns)
            if c % every == 0
        ],
    )


def _kind(grid: Grid, mean: float) -> str:
    if grid.amount:
        return "amount"
    return "neg" if mean < 0 else "pos"


def _tip(name: str, mean: float, low: float, high: float) -> str:
    interval = "" if low == mean == high else f" [{number(low)}, {number(high)}]"
    return f"{name}: {number(mean)}{interval}"


# --- the circuit ---------------------------------------------------------------------------------------------------

OUTLINES = {
    "mover": "M-10,0a10,10 0 1,0 20,0a10,10 0 1,0 -20,0z",
    "negative": "M0,11L-11.5,-8L11.5,-8z",
    "previous": "M-9,-9H9V9H-9z",
    "fuzzy": "M-4,-10H4L10,-4V4L4,10H-4L-10,4V-4z",
    "positional": "M0,-12.5L12.5,0L0,12.5L-12.5,0z",
    "other": "M-11.5,0L-5.5,-9.5H5.5L11.5,0L5.5,9.5H-5.5z",
}
"""A shape for every kind of role, around 0, 0: circle, triangle, square, octagon, diamond, hexagon."""


@dataclass(frozen=True)
class Mark:
    """How heads of one role look; never by colour alone."""

    role: str
    kind: str
    letter: str
    about: str

    @property
    def outline(self) -> str:
        return OUTLINES[self.kind]


MARKS = {
    "negative": ("negative", "N", "writes against the answer"),
    "previous-token": ("previous", "P", "attends to the token before"),
    "fuzzy previous-token": ("fuzzy", "F", "attends to one of the few tokens before"),
    "positional": ("positional", "L", "tells how far the answer is: its location"),
    "other": ("other", "O", "none of these"),
}


def mark(role: str) -> Mark:
    """Roles that no rule but the first gives are movers, whatever their behaviour calls them."""
    if role in MARKS:
        return Mark(role, *MARKS[role])
    initial = (role.split() or ["?"])[-1][0].upper()
    letter = initial if initial not in {other for _, other, _ in MARKS.values()} else "M"
    return Mark(role, "mover", letter, "carries the answer from where it stands in the prompt")


@dataclass(frozen=True)
class Node:
    """A head of the circuit: `share` (0 to 100) is its effect beside the strongest head's."""

    x: float
    y: float
    id: str
    site: str
    mark: Mark
    share: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A head outside the circuit."""

    x: float
    y: float
    r: float
    tip: str


@dataclass(frozen=True)
class Drawing:
    width: float
    height: float
    left: float
    top: float
    inner: tuple[float, float]
    nodes: Sequence[Node]
    dots: Sequence[Dot]
    labels: Sequence[Label]
    ticks: Sequence[Label]


STEP, LEFT, TOP = 30.0, 44.0, 6.0
"""From one head to the next in the drawing of the circuit, and its margins."""


def centre(layer: int, head: int) -> tuple[float, float]:
    """The centre of a head in the drawing."""
    return LEFT + (layer + 0.5) * STEP, TOP + (head + 0.5) * STEP


def drawing(n_layers: int, n_heads: int, nodes: Sequence[Node], dots: Sequence[Dot]) -> Drawing:
    """Layers × heads with everything on it."""
    inner = n_layers * STEP, n_heads * STEP
    return Drawing(
        width=LEFT + inner[0] + 8,
        height=TOP + inner[1] + 40,
        left=LEFT,
        top=TOP,
        inner=inner,
        nodes=nodes,
        dots=dots,
        labels=[Label(LEFT - 8, centre(0, head)[1], str(head)) for head in range(n_heads)],
        ticks=[Label(centre(layer, 0)[0], TOP + inner[1] + 15, str(layer)) for layer in range(n_layers)],
    )


# --- the build-up --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """One panel of the build-up; `line` and `band` are SVG paths."""

    title: str
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


def curve(steps: Steps, low: float, high: float) -> Curve:
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
        title=steps.title,
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
