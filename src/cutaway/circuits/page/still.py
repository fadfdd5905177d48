"""The circuit as a still: layers × heads without arrows, for places where no script runs (comparisons, notebooks)."""

from collections.abc import Mapping

from cutaway.circuits.page.drawing import Dot, Drawing, Node, centre, drawing
from cutaway.circuits.page.marks import mark
from cutaway.circuits.page.numbers import number


def still(
    shape: tuple[int, int], roles: Mapping[str, str], totals: Mapping[str, float], shares: Mapping[str, float]
) -> Drawing:
    """Lays it out.

    Args:
        shape: layers, and heads in a layer.
        roles: the heads of the circuit (`9.9`), each with its role.
        totals: |effect| of every head that is to be seen; those outside the circuit become dots, larger with effect.
        shares: how much of its ring a head of the circuit has, from 0 to 1.
    """
    largest = max(totals.values(), default=0.0) or 1.0
    nodes = [
        Node(*_place(site), site, mark(role), round(100 * shares[site], 1), f"Head {site}, {role}{_said(totals, site)}")
        for site, role in roles.items()
    ]
    dots = [
        Dot(*_place(site), round(1.3 + 4.2 * (total / largest) ** 0.5, 1), f"{site}{_said(totals, site)}", site)
        for site, total in totals.items()
        if site not in roles
    ]
    return drawing(*shape, nodes, dots)


def _place(site: str) -> tuple[float, float]:
    layer, head = site.split(".")
    return centre(int(layer), int(head))


def _said(totals: Mapping[str, float], site: str) -> str:
    return f"; effect {number(totals[site])}" if site in totals else ""
