"""The circuit drawn as layers × heads: where every head stands. Units are CSS pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

from cutaway.circuits.page.heat import Label
from cutaway.circuits.page.marks import Mark


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
