"""The sections about heads: the circuit as a drawing and as a table, and the heat maps of effects."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cutaway.circuits.circuit import CircuitHead
from cutaway.circuits.page.drawing import Dot, Drawing, Node, centre, drawing
from cutaway.circuits.page.edges import arrows
from cutaway.circuits.page.heat import Grid, HeatMap, heat_map
from cutaway.circuits.page.marks import OUTLINES, Mark, mark
from cutaway.circuits.page.numbers import DASH, Value, listed, number, share, value
from cutaway.circuits.read import Effects, Point, Record, exactly, place
from cutaway.decoder import parse_site


@dataclass(frozen=True)
class Member:
    """A head of the circuit, as a line of its table."""

    site: str
    mark: Mark
    evidence: Sequence[tuple[str, str]]
    effect: Sequence[Value]
    dropped: Sequence[Value]


@dataclass(frozen=True)
class CircuitSection:
    drawing: Drawing
    legend: Sequence[Mark]
    members: Sequence[Member]
    first: str
    """The head to show first: the one with the largest effect."""
    edges: str
    """How the edges were measured; empty where they were not."""


def circuit(record: Record) -> CircuitSection:
    heads = record.circuit.heads
    sums = {site: _sum_of_effects(record, site) for site in record.every_head}
    largest = max(sums.values(), default=0.0) or 1.0
    nodes = [_node(head, sums[str(head.site)] / largest) for head in heads]
    inside = {str(head.site) for head in heads}
    dots = [_dot(site, total, largest) for site, total in sums.items() if site not in inside]
    strongest = max(heads, key=lambda head: sums[str(head.site)], default=None)
    return CircuitSection(
        drawing=drawing(record.n_layers, record.n_heads, nodes, dots, arrows(record)),
        legend=legend(head.role for head in heads),
        members=[_member(head) for head in heads],
        first=str(strongest.site) if strongest else "",
        edges=_how(record.paths.convention) if record.paths else "",
    )


def legend(roles: Iterable[str]) -> list[Mark]:
    """How the roles that occur look, in the order of their kinds."""
    return sorted((mark(role) for role in set(roles)), key=lambda m: (list(OUTLINES).index(m.kind), m.role))


def _node(head: CircuitHead, share: float) -> Node:
    site, x, y = str(head.site), *centre(*place(head.site))
    label = f"Head {site}, {head.role}; effect {listed(_mean(p) for p in head.effect)}"
    return Node(x, y, site, mark(head.role), round(100 * share, 1), label)


def _dot(site: str, total: float, largest: float) -> Dot:
    """Its area grows with the effect."""
    x, y = centre(*place(parse_site(site)))
    tip = f"{site}: {number(total)}, not in the circuit"
    return Dot(x, y, round(1.3 + 4.2 * (total / largest) ** 0.5, 1), tip, site)


def _sum_of_effects(record: Record, site: str) -> float:
    """|effect| of a head, summed over steps and corruptions."""
    points = [effects.of(site, step) for effects in record.heads.values() for step in record.steps]
    return sum((abs(point[0]) for point in points if point), start=0.0)


def _mean(point: Point) -> str:
    return number(point[0]) if point else DASH


def _member(head: CircuitHead) -> Member:
    return Member(
        site=str(head.site),
        mark=mark(head.role),
        evidence=[(name, number(x)) for name, x in head.evidence.items()],
        effect=[value(_finite(p)) for p in head.effect],
        dropped=[share(_finite(p)) for p in head.dropped],
    )


def _finite(point: Point) -> Point:
    return None if point is None or any(x is None or x - x != 0 for x in point) else point


ALPHABET = [chr(ord("A") + i) for i in range(26)]


def letters(record: Record) -> list[HeatMap]:
    """The OV matrices of all movers together, on one scale."""
    quadrants = record.letters.get("movers", {})
    every = [[[exactly(x) for x in row] for row in q["matrix"]] for q in quadrants.values()]
    limit = max((abs(p[0]) for matrix in every for row in matrix for p in row if p), default=0.0)
    return [
        heat_map(
            Grid(
                f"letters-{i}",
                name,
                ALPHABET,
                ALPHABET,
                points,
                "{row} → {column}",
                "letter attended to",
                "letter written",
            ),
            limit,
            side=9.0,
        )
        for i, (name, points) in enumerate(zip(quadrants, every, strict=True), 1)
    ]


# --- effects -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Maps:
    """Heat maps of one corruption on one scale: one for each step, None where it says nothing about the step."""

    id: str
    corruption: str
    how: str
    limit: str
    maps: Sequence[HeatMap | None]

    @property
    def width(self) -> float:
        return max((m.width for m in self.maps if m), default=0.0)


def head_maps(record: Record) -> list[Maps]:
    outlined = frozenset(place(site)[::-1] for site in record.circuit.sites)
    rows, columns = [str(i) for i in range(record.n_heads)], [str(i) for i in range(record.n_layers)]

    def grid(effects: Effects, step: str, id: str) -> Grid:
        points = [[effects.of(f"{layer}.{head}", step) for layer in columns] for head in rows]
        return Grid(id, step, rows, columns, points, "{column}.{row}", outlined=outlined, heads=True)

    return [
        _maps(record, f"heads-{i}", effects, grid, effects.largest)
        for i, effects in enumerate(record.heads.values(), 1)
    ]


def stream_maps(record: Record) -> list[Maps]:
    """The residual stream by role; MLPs in the last row."""
    columns = [str(i) for i in range(record.n_layers)]

    def grid(effects: Effects, step: str, id: str) -> Grid:
        points = [[effects.of(f"{layer}.resid_pre", step, role) for layer in columns] for role in effects.roles]
        rows = list(effects.roles)
        if mlps := record.mlps.get(effects.corruption):
            rows.append("MLP")
            points.append([mlps.of(f"m{layer}", step) for layer in columns])
        return Grid(id, step, rows, columns, points, "{row}, layer {column}", "role")

    limits = [max(e.largest, m.largest if (m := record.mlps.get(c)) else 0) for c, e in record.stream.items()]
    pairs = enumerate(zip(record.stream.values(), limits, strict=True), 1)
    return [_maps(record, f"stream-{i}", effects, grid, limit) for i, (effects, limit) in pairs]


def _maps(record: Record, id: str, effects: Effects, grid: Callable[[Effects, str, str], Grid], limit: float) -> Maps:
    return Maps(
        id=id,
        corruption=effects.corruption,
        how=_how(effects.convention),
        limit=number(limit),
        maps=[
            heat_map(grid(effects, step, f"{id}-{i}"), limit) if step in effects.steps else None
            for i, step in enumerate(record.steps, 1)
        ],
    )


def _how(convention: dict) -> str:
    """A convention in half a line."""
    c = convention
    return f"{c['kind']} {c['direction']}; {c['metric'].replace('_', ' ')}, {c['sign']}; {c['n']} prompts"
