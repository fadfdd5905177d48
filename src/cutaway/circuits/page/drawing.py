"""The circuit drawn as layers × heads: where every head stands, and what it writes to whom. Units are CSS pixels.

An arrow leaves a head on its right and enters another at one of three places on its left: queries above, keys in the
middle, values below. The words stand to the left of all layers, the logits to the right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cutaway.circuits.graph import EMBED, LOGITS
from cutaway.circuits.page.heat import Label
from cutaway.circuits.page.marks import Mark

STEP, LEFT, TOP, RIGHT = 30.0, 96.0, 8.0, 70.0
"""From one head to the next, and the margins: the words and the logits stand in them."""

RADIUS = 12.5
"""Of a head with its ring."""

PORTS = {"q": (-0.82, -0.57), "k": (-1.0, 0.0), "v": (-0.82, 0.57)}
"""Where queries, keys and values enter a head, in radii from its centre."""

THINNEST, THICKEST = 0.7, 6.0
"""Width of an arrow: that of the strongest edge is the latter."""

WEAK = 0.04
"""Edges below this share of the strongest one are not drawn."""


@dataclass(frozen=True)
class Node:
    """A head of the circuit: `share` (0 to 100) is its effect beside the strongest head's."""

    x: float
    y: float
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
    site: str = ""


@dataclass(frozen=True)
class Arrow:
    """An edge: `ends` are what it joins, `widths` its thickness for all steps together and then for each (0: too weak)."""

    path: str
    kind: str
    ends: tuple[str, str]
    widths: Sequence[float]
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
    arrows: Sequence[Arrow]
    ends: Sequence[Label]
    """The words and the logits, where arrows begin and end; none without arrows."""
    labels: Sequence[Label]
    ticks: Sequence[Label]


def centre(layer: int, head: int) -> tuple[float, float]:
    """The centre of a head in the drawing."""
    return LEFT + (layer + 0.5) * STEP, TOP + (head + 0.5) * STEP


def arrow_path(sender: str, receiver: str, channel: str, shape: tuple[int, int]) -> str:
    """The way from what writes (`embed` or a head) to what reads (a head at one of its inputs, or `logits`)."""
    n_layers, n_heads = shape
    middle = TOP + n_heads * STEP / 2
    if sender == EMBED:
        x0, y0 = LEFT - 36, middle
    else:
        x0, y0 = _place(sender)
        x0 += RADIUS
    if receiver == LOGITS:
        x1, y1 = LEFT + n_layers * STEP + 12, middle
    else:
        x, y = _place(receiver)
        dx, dy = PORTS[channel]
        x1, y1 = x + dx * RADIUS, y + dy * RADIUS
    # heads of neighbouring layers need room to turn, far ones must not swing out
    bend = min(max(0.45 * (x1 - x0), 14.0), 150.0)
    return f"M{x0:.1f},{y0:.1f}C{x0 + bend:.1f},{y0:.1f} {x1 - bend:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"


def width(share: float) -> float:
    """Thickness of an edge with this share of the strongest one's effect."""
    return round(THINNEST + (THICKEST - THINNEST) * share, 2) if share >= WEAK else 0.0


def drawing(
    n_layers: int, n_heads: int, nodes: Sequence[Node], dots: Sequence[Dot], arrows: Sequence[Arrow] = ()
) -> Drawing:
    """Layers × heads with everything on it."""
    inner = n_layers * STEP, n_heads * STEP
    middle = TOP + inner[1] / 2
    ends = [Label(LEFT - 40, middle, "words"), Label(LEFT + inner[0] + 18, middle, "logits")]
    return Drawing(
        width=LEFT + inner[0] + RIGHT,
        height=TOP + inner[1] + 40,
        left=LEFT,
        top=TOP,
        inner=inner,
        nodes=nodes,
        dots=dots,
        arrows=arrows,
        ends=ends if arrows else (),
        labels=[Label(LEFT - 8, centre(0, head)[1], str(head)) for head in range(n_heads)],
        ticks=[Label(centre(layer, 0)[0], TOP + inner[1] + 15, str(layer)) for layer in range(n_layers)],
    )


def _place(site: str) -> tuple[float, float]:
    layer, head = site.split(".")[:2]
    return centre(int(layer), int(head))
