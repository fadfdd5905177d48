"""The page as it is first sent, and the files that belong to it. Everything from the run is escaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cutaway.circuits.behavior import ANSWER
from cutaway.circuits.explore.phrase import STEPS
from cutaway.circuits.explore.setup import Setup
from cutaway.circuits.page.marks import OUTLINES, Mark, mark

HERE = Path(__file__).parent
SIDE, LEFT, TOP = 26.0, 34.0, 4.0
"""The grid of heads in CSS pixels: a cell, and what stands before and above the first one."""


@dataclass(frozen=True)
class Asset:
    content: bytes
    kind: str


@dataclass(frozen=True)
class Cell:
    """A head in the grid: where it stands, and its mark if it belongs to the circuit."""

    site: str
    x: float
    y: float
    mark: Mark | None


@dataclass(frozen=True)
class Grid:
    """Layers from left to right, heads from top to bottom; `rows` are the heads."""

    width: float
    height: float
    inner: tuple[float, float]
    rows: Sequence[Sequence[Cell]]
    ticks: Sequence[tuple[float, str]]


def grid(layers: int, heads: int, roles: dict[str, str]) -> Grid:
    """Lays out the heads; `roles` are those of the circuit's by site."""

    def cell(layer: int, head: int) -> Cell:
        site = f"{layer}.{head}"
        at = LEFT + (layer + 0.5) * SIDE, TOP + (head + 0.5) * SIDE
        return Cell(site, *at, mark(roles[site]) if site in roles else None)

    return Grid(
        width=LEFT + layers * SIDE + 6,
        height=TOP + heads * SIDE + 34,
        inner=(layers * SIDE, heads * SIDE),
        rows=[[cell(layer, head) for layer in range(layers)] for head in range(heads)],
        ticks=[(LEFT + (layer + 0.5) * SIDE, str(layer)) for layer in range(layers)],
    )


def page(setup: Setup) -> str:
    """The HTML of the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    circuit, bounds = setup.circuit, setup.bounds
    roles = {str(head.site): head.role for head in circuit.heads}
    marks = {mark(role) for role in roles.values()}
    facts = {
        "layers": bounds.layers,
        "heads": bounds.heads,
        "circuit": list(roles),
        "steps": circuit.step_names,
        "answer": ANSWER,
    }
    return environment.get_template("page.html.j2").render(
        setup=setup,
        model=setup.bench.model.source,
        characters=bounds.characters,
        longest=STEPS,
        means=setup.bench.means,
        grid=grid(bounds.layers, bounds.heads, roles),
        legend=sorted(marks, key=lambda m: (list(OUTLINES).index(m.kind), m.role)),
        facts=facts,
    )


def assets() -> dict[str, Asset]:
    """What the page loads, by its path: read once, so that no request ever names a file."""
    style = HERE.parent / "page/style.css"
    scripts = sorted((HERE / "scripts").glob("*.js"))
    return {
        "/style.css": Asset(style.read_bytes(), "text/css"),
        "/explore.css": Asset((HERE / "explore.css").read_bytes(), "text/css"),
        **{f"/{script.name}": Asset(script.read_bytes(), "text/javascript") for script in scripts},
    }
