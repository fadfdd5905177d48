"""Numbers as a reader sees them, and tables of them. What was not measured is a dash."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cutaway.circuits.read import Point

DASH = "–"


def number(x: int | float | None, digits: int = 2) -> str:
    """With a true minus, and never `−0.00`."""
    if x is None or not math.isfinite(x):
        return DASH
    text = f"{x:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def percent(x: int | float | None) -> str:
    """A share as whole percents."""
    return number(None if x is None else 100 * x, 0) + ("" if x is None or not math.isfinite(x) else "%")


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = list(items) or [DASH]
    return f"{', '.join(first)} and {last}" if first else last


@dataclass(frozen=True)
class Value:
    """One cell of a table: what it says, and the interval beside it."""

    text: str
    interval: str = ""


NOTHING = Value(DASH)


def value(point: Point, digits: int = 2) -> Value:
    """A mean with its interval; the interval is left out where it is no wider than the rounding."""
    return _shown(point, lambda x: number(x, digits))


def share(point: Point) -> Value:
    """The same in percents."""
    return _shown(point, percent)


def _shown(point: Point, show) -> Value:
    if point is None:
        return NOTHING
    mean, low, high = map(show, point)
    return Value(mean, "" if low == mean == high else f"[{low}, {high}]")


@dataclass(frozen=True)
class Row:
    """A line of a table: its head, a word of explanation, and its cells."""

    name: str
    cells: Sequence[Value]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """`id` is unique on the page; `columns` are the heads of the cells, `corner` that of the row heads."""

    id: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    corner: str = ""


def texts(*cells: object) -> tuple[Value, ...]:
    """Cells of plain text."""
    return tuple(Value(DASH if cell is None or cell == "" else str(cell)) for cell in cells)
