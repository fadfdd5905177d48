"""Where the page's drawings put things, and how it writes numbers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from circuits.run_folders import make
from cutaway.circuits.page import marks, sections
from cutaway.circuits.page.heat import Grid, heat_map
from cutaway.circuits.page.numbers import listed, number, percent, value
from cutaway.circuits.read import read


@pytest.fixture
def small(tmp_path) -> Path:
    return make(tmp_path / "run")


def check_heat_map(lay_out) -> None:
    """Two rows, three columns: every value in its place, its colour and its strength."""
    points = [[(-4.0, -5.0, -3.0), None, (0.01, 0.0, 0.02)], [(2.0, 1.0, 3.0), (0.0, 0.0, 0.0), (-1.0, -1.0, -1.0)]]
    grid = Grid("g", "t", ("a", "b"), ("0", "1", "2"), points, "{column}.{row}", outlined=frozenset({(1, 2)}))
    made = lay_out(grid, 4.0)
    cells = {
        ((c.y - made.top) / made.side, (c.x - made.left) / made.side): (c.kind, c.opacity, c.tip) for c in made.cells
    }
    assert cells == {
        (0, 0): ("neg", 1.0, "0.a: −4.00 [−5.00, −3.00]"),
        (1, 0): ("pos", 0.5, "0.b: 2.00 [1.00, 3.00]"),
        (1, 2): ("neg", 0.25, "2.b: −1.00"),
    }
    assert made.outlines == [(made.left + 2 * made.side, made.top + made.side)]
    assert made.about.startswith("Strongest: 0.a: −4.00 [−5.00, −3.00]; 0.b: 2.00")


def test_heat_maps_put_every_value_in_its_place():
    check_heat_map(heat_map)


@pytest.mark.parametrize("broken", ["columns for rows", "sign", "scale"])
def test_a_broken_heat_map_is_caught(broken):
    def lay_out(grid: Grid, limit: float):
        if broken == "columns for rows":
            flipped = [list(row) for row in zip(*grid.points, strict=True)]
            return heat_map(replace(grid, points=flipped, rows=grid.columns, columns=grid.rows), limit)
        if broken == "sign":
            return heat_map(
                replace(grid, points=[[p and tuple(-x for x in p) for p in row] for row in grid.points]), limit
            )
        return heat_map(grid, 2 * limit)

    with pytest.raises(AssertionError):
        check_heat_map(lay_out)


def test_random_circuits_stand_on_the_scale_of_the_curve(small):
    """Faithfulness 0 is the height of every head ablated, 1 that of the dashed line."""
    verified = json.loads((small / "verification.json").read_text())
    verified["random_circuits"] = [[0.0] * 3, [1.0] * 3, [0.5] * 3]
    (small / "verification.json").write_text(json.dumps(verified))
    for made in sections.curves(read(small)):
        empty, whole, half = (dot.y for dot in made.random)
        assert empty == made.points[0].y
        assert whole == made.whole < empty
        assert half == pytest.approx((empty + whole) / 2, abs=0.11)


def test_the_curve_rises_to_the_right_within_its_axes(small):
    for made in sections.curves(read(small)):
        xs = [dot.x for dot in made.points]
        assert xs == sorted(xs)
        assert len(xs) == 6
        assert made.points[-1].y < made.points[0].y
        assert all(0 <= dot.y <= made.bottom for dot in [*made.points, *made.random])


def test_roles_differ_in_letter_and_shape():
    roles = ("letter mover", "negative", "previous-token", "fuzzy previous-token", "positional", "other")
    made = [marks.mark(role) for role in roles]
    assert len({m.letter for m in made}) == len({m.outline for m in made}) == len(roles)
    assert marks.mark("induction").letter == "I"
    assert marks.mark("name mover").kind == "mover"
    assert marks.mark("opener").letter == "M"  # O is taken


def test_numbers_as_they_are_read():
    assert [number(x) for x in (-0.001, -1.5, math.nan, None, math.inf)] == ["0.00", "−1.50", "–", "–", "–"]
    assert [percent(x) for x in (0.954, -0.001, None)] == ["95%", "0%", "–"]
    assert (value((1.0, 0.5, 1.5)).text, value((1.0, 0.5, 1.5)).interval) == ("1.00", "[0.50, 1.50]")
    assert value((1.0, 1.0, 1.001)).interval == ""
    assert listed(["a", "b", "c"]) == "a, b and c"
