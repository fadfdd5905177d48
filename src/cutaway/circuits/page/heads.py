"""The sections about heads: the circuit as a drawing with a panel for every head, and the heat maps of effects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cutaway.circuits.circuit import CircuitHead
from cutaway.circuits.page.drawing import Dot, Drawing, Node, centre, drawing
from cutaway.circuits.page.heat import Grid, HeatMap, heat_map
from cutaway.circuits.page.marks import OUTLINES, Mark, mark
from cutaway.circuits.page.numbers import DASH, Row, Table, Value, listed, number, percent, share, texts, value
from cutaway.circuits.read import Effects, Point, Record, exactly, place
from cutaway.decoder import parse_site


@dataclass(frozen=True)
class Panel:
    """All that is known of one head."""

    id: str
    site: str
    mark: Mark
    evidence: Sequence[tuple[str, str]]
    effect: Sequence[Value]
    dropped: Sequence[Value]
    writes: Sequence[Value]
    copies: Sequence[Value]
    attention: Sequence[tuple[str, Sequence[tuple[str, float]]]]
    """role → for each step the number and its width in percent."""
    letters: Table | None


@dataclass(frozen=True)
class CircuitSection:
    drawing: Drawing
    legend: Sequence[Mark]
    panels: Sequence[Panel]
    first: str
    """Id of the panel to show first: the head with the largest effect."""


def circuit(record: Record) -> CircuitSection:
    heads = record.circuit.heads
    sums = {site: _sum_of_effects(record, site) for site in record.every_head}
    largest = max(sums.values(), default=0.0) or 1.0
    nodes = [_node(head, sums[str(head.site)] / largest) for head in heads]
    inside = {str(head.site) for head in heads}
    dots = [_dot(site, total, largest) for site, total in sums.items() if site not in inside]
    strongest = max(heads, key=lambda head: sums[str(head.site)], default=None)
    return CircuitSection(
        drawing=drawing(record.n_layers, record.n_heads, nodes, dots),
        legend=sorted(
            (mark(role) for role in {head.role for head in heads}), key=lambda m: (list(OUTLINES).index(m.kind), m.role)
        ),
        panels=[panel(record, head) for head in heads],
        first=_id(str(strongest.site)) if strongest else "",
    )


def _node(head: CircuitHead, share: float) -> Node:
    site, x, y = str(head.site), *centre(*place(head.site))
    label = f"Head {site}, {head.role}; effect {listed(_mean(p) for p in head.effect)}"
    return Node(x, y, _id(site), site, mark(head.role), round(100 * share, 1), label)


def _dot(site: str, total: float, largest: float) -> Dot:
    """Its area grows with the effect."""
    x, y = centre(*place(parse_site(site)))
    return Dot(x, y, round(1.3 + 4.2 * (total / largest) ** 0.5, 1), f"{site}: {number(total)}, not in the circuit")


def _id(site: str) -> str:
    return "head-" + site.replace(".", "-")


def _sum_of_effects(record: Record, site: str) -> float:
    """|effect| of a head, summed over steps and corruptions."""
    points = [effects.of(site, step) for effects in record.heads.values() for step in record.steps]
    return sum((abs(point[0]) for point in points if point), start=0.0)


def _mean(point: Point) -> str:
    return number(point[0]) if point else DASH


def panel(record: Record, head: CircuitHead) -> Panel:
    site = str(head.site)
    direct = [record.direct.get((site, step), {}) for step in record.steps]
    looks = [record.attention.get((site, step), {}) for step in record.steps]
    return Panel(
        id=_id(site),
        site=site,
        mark=mark(head.role),
        evidence=[(name, number(x)) for name, x in head.evidence.items()],
        effect=[value(_finite(p)) for p in head.effect],
        dropped=[share(_finite(p)) for p in head.dropped],
        writes=[Value(number(d.get("direct_logit_diff"))) for d in direct],
        copies=[Value(percent(d.get("copy_top"))) for d in direct],
        attention=[
            (role, [(number(look.get(role)), round(100 * (look.get(role) or 0.0), 1)) for look in looks])
            for role in record.attention_roles
        ],
        letters=_ov(record, site),
    )


def _finite(point: Point) -> Point:
    return None if point is None or any(x is None or x - x != 0 for x in point) else point


def _ov(record: Record, site: str) -> Table | None:
    if site not in record.letters:
        return None
    copying = record.copying.get(site, {})
    rows = [
        Row(
            name,
            texts(number(q["diagonal"]), number(q["off_diagonal"]), percent(q["row_max"]), percent(copying.get(name))),
        )
        for name, q in record.letters[site].items()
    ]
    columns = ("own letter", "others", "own first", "copying")
    return Table(
        f"ov-{_id(site)}", f"What {site} writes when it attends to a letter (logits, means)", columns, rows, "from → to"
    )


def letters(record: Record) -> list[HeatMap]:
    """The OV matrices of all movers together, on one scale."""
    quadrants = record.letters.get("movers", {})
    alphabet = [chr(ord("A") + i) for i in range(26)]
    every = [[[exactly(x) for x in row] for row in q["matrix"]] for q in quadrants.values()]
    limit = max((abs(p[0]) for matrix in every for row in matrix for p in row if p), default=0.0)
    return [
        heat_map(
            Grid(name, alphabet, alphabet, points, lambda r, c: f"{alphabet[r]} → {alphabet[c]}", across=""),
            limit,
            side=9.0,
        )
        for name, points in zip(quadrants, every, strict=True)
    ]


# --- effects -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Maps:
    """Heat maps of one corruption on one scale: one for each step, None where it says nothing about the step."""

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

    def grid(effects: Effects, step: str) -> Grid:
        points = [[effects.of(f"{layer}.{head}", step) for layer in columns] for head in rows]
        return Grid(step, rows, columns, points, lambda head, layer: f"{layer}.{head}", outlined=outlined)

    return [_maps(record, effects, grid, effects.largest) for effects in record.heads.values()]


def stream_maps(record: Record) -> list[Maps]:
    """The residual stream by role; MLPs in the last row."""
    columns = [str(i) for i in range(record.n_layers)]

    def grid(effects: Effects, step: str) -> Grid:
        points = [[effects.of(f"{layer}.resid_pre", step, role) for layer in columns] for role in effects.roles]
        rows = list(effects.roles)
        if mlps := record.mlps.get(effects.corruption):
            rows.append("MLP")
            points.append([mlps.of(f"m{layer}", step) for layer in columns])
        return Grid(step, rows, columns, points, lambda row, layer: f"{rows[row]}, layer {layer}")

    limits = [max(e.largest, m.largest if (m := record.mlps.get(c)) else 0) for c, e in record.stream.items()]
    return [_maps(record, effects, grid, limit) for effects, limit in zip(record.stream.values(), limits, strict=True)]


def _maps(record: Record, effects: Effects, grid: Callable[[Effects, str], Grid], limit: float) -> Maps:
    how = effects.convention
    return Maps(
        corruption=effects.corruption,
        how=f"{how['kind']} {how['direction']}; {how['metric']}, {how['sign']}; {how['n']} prompts",
        limit=number(limit),
        maps=[heat_map(grid(effects, step), limit) if step in effects.steps else None for step in record.steps],
    )
