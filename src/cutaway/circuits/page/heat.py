"""Heat maps: where the page puts their cells. Units are CSS pixels.

Layers run from left to right and heads from top to bottom, as in the figures.
"""

from collections.abc import Sequence
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
    """What a heat map shows: points by row and column, and what a cell is called (`{row}` and `{column}` stand for names).

    `id` is unique on the page; `down` and `across` say what rows and columns are; `heads` that every cell is a head, which
    can be chosen.
    """

    id: str
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    points: Sequence[Sequence[Point]]
    called: str
    down: str = "head"
    across: str = "layer"
    outlined: frozenset[tuple[int, int]] = frozenset()
    amount: bool = False
    """Values are shares of one, not effects with a sign."""
    heads: bool = False

    def name(self, row: int, column: int) -> str:
        return self.called.format(row=self.rows[row], column=self.columns[column])


@dataclass(frozen=True)
class HeatMap:
    grid: Grid
    about: str
    """Its strongest cells in words, for those who do not see it."""
    width: float
    height: float
    left: float
    top: float
    side: float
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
        Cell(left + c * side, top + r * side, _kind(grid, p[0]), round(abs(p[0]) / limit, 2), _tip(grid.name(r, c), *p))
        for r, row in enumerate(grid.points)
        for c, p in enumerate(row)
        if p and limit and abs(p[0]) / limit >= FAINT
    ]
    strongest = [cell.tip for cell in sorted(seen, key=lambda cell: -cell.opacity)[:3]]
    inner = n_columns * side, n_rows * side
    return HeatMap(
        grid=grid,
        about=f"Strongest: {'; '.join(strongest)}." if strongest else "Nothing above 1% of the scale.",
        width=left + inner[0] + 4,
        height=top + inner[1] + 32,
        left=left,
        top=top,
        side=side,
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
