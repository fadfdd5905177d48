"""What a notebook shows of a `Circuit`, an `EffectMap` and a `Behavior`: fragments of HTML that need nothing and change nothing.

They are made of the same pieces as the pages: heat maps, the drawing of the circuit, marks, numbers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.circuits.circuit import Circuit, CircuitHead
from cutaway.circuits.effects import EffectMap
from cutaway.circuits.page.drawing import Drawing
from cutaway.circuits.page.heat import Grid, HeatMap, heat_map
from cutaway.circuits.page.marks import Mark, mark
from cutaway.circuits.page.numbers import Value, number, percent, value
from cutaway.circuits.page.still import still
from cutaway.circuits.read import Point, place

KIT = Path(__file__).parents[1]

MOST_CELLS = 1000
"""Cells drawn in all: a fragment stays below 200 kB."""

N_PROMPTS, LONGEST, MOST_IDS = 8, 400, 24
"""Prompts shown, characters of one, token ids of a span."""


def _fragment(kind: str, it: object) -> str:
    """Everything is escaped but our own style."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(KIT), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup((KIT / "page/notebook.css").read_text(encoding="utf-8"))
    return environment.get_template("page/notebook.html.j2").render(kind=kind, it=it, style=style)


def _id(*about: object) -> str:
    """Ids must be unique in a notebook that shows many things; the same thing shown twice may share them."""
    return "cutaway-" + hashlib.sha256(repr(about).encode()).hexdigest()[:10]


# --- circuit -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeadLine:
    """A head of the circuit in the table."""

    site: str
    mark: Mark
    effect: Sequence[Value]
    worst: str
    evidence: str


@dataclass(frozen=True)
class ShownCircuit:
    id: str
    model: str
    behavior: str
    size: str
    how: str
    steps: Sequence[str]
    drawing: Drawing | None
    drawn: str
    about: str
    heads: Sequence[HeadLine]


def circuit_html(circuit: Circuit) -> str:
    """The drawing and a table of heads. A circuit of an earlier version does not know its model's shape: it says so."""
    heads = circuit.heads
    drawing, drawn = None, ""
    if heads:
        totals = {str(head.site): sum(abs(p[0]) for p in head.effect if p) for head in heads}
        largest = max(totals.values()) or 1.0
        roles = {str(head.site): head.role for head in heads}
        shape, drawn = _shape(circuit)
        drawing = still(shape, roles, totals, {site: total / largest for site, total in totals.items()})
    how = [f"{'search' if name == 'name' else name} {x}" for name, x in circuit.method.items()]
    if (seed := circuit.provenance.get("options", {}).get("seed")) is not None:
        how.append(f"seed {seed}")
    shown = ShownCircuit(
        _id(circuit), circuit.model, circuit.behavior, f"{len(heads)} head{'' if len(heads) == 1 else 's'}", ", ".join(how),
        circuit.step_names, drawing, drawn, "; ".join(f"{head.site} {head.role}" for head in heads),
        [_line(head) for head in heads],
    )  # fmt: skip
    return _fragment("circuit", shown)


def _shape(circuit: Circuit) -> tuple[tuple[int, int], str]:
    """Layers, and heads in a layer, as far as they are known; and what is said of that below the drawing."""
    rings = "Rings show |effect|, summed over answer tokens."
    about = circuit.provenance
    if "n_layers" in about and "n_heads" in about:
        return (about["n_layers"], about["n_heads"]), rings
    layers, heads = (1 + max(axis) for axis in zip(*(place(head.site) for head in circuit.heads), strict=True))
    last = f"layer {layers - 1} and head {heads - 1}"
    return (layers, heads), f"Drawn up to {last}, the last that the circuit has; the model may have more. {rings}"


def _line(head: CircuitHead) -> HeadLine:
    costs = [mean for mean, _, _ in head.dropped if mean == mean]
    evidence = "; ".join(f"{name} {number(x)}" for name, x in head.evidence.items())
    return HeadLine(
        str(head.site),
        mark(head.role),
        [value(p if p and p[0] == p[0] else None) for p in head.effect],
        percent(max(costs, default=None)),
        evidence,
    )


# --- effects -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShownEffects:
    title: str
    convention: str
    maps: Sequence[HeatMap]
    limit: str
    left_out: str


def effects_html(effects: EffectMap) -> str:
    """Heat maps, one for each step: heads × layers (and one for each role), or roles × layers where sites have no heads."""
    intervals = effects.interval()
    grids = [
        grid
        for step, name in enumerate(effects.step_names)
        for grid in _grids(effects, name, [x[..., step].tolist() for x in intervals])
    ]
    strength = [max((abs(p[0]) for row in grid.points for p in row if p), default=0.0) for grid in grids]
    limit = max(strength, default=0.0)
    chosen, cells = set(), 0
    for i in sorted(range(len(grids)), key=lambda i: -strength[i]):
        cells += sum(p is not None for row in grids[i].points for p in row)
        if not chosen or cells <= MOST_CELLS:
            chosen.add(i)
    left_out = len(grids) - len(chosen)
    shown = ShownEffects(
        title=f"Effect of {len(effects.sites)} sites, {effects.values.shape[2]} prompts",
        convention=str(effects.convention),
        maps=[heat_map(grid, limit) for i, grid in enumerate(grids) if i in chosen],
        limit=number(limit),
        left_out=f"{left_out} weaker maps are not shown: see .grid(step, role) or .rows()." if left_out else "",
    )
    return _fragment("effects", shown)


def _grids(effects: EffectMap, name: str, interval: Sequence[list]) -> list[Grid]:
    """The maps of one step: one for each kind of head and role, and one for all sites without heads."""
    mean, low, high = interval
    points: dict[tuple[str, str | None, int, int | None], Point] = {
        (site.kind, role, site.layer, site.head): None if (m := mean[s][r]) != m else (m, low[s][r], high[s][r])
        for s, site in enumerate(effects.sites)
        for r, role in enumerate(effects.roles)
    }
    layers = range(1 + max((site.layer for site in effects.sites), default=0))
    columns = [str(layer) for layer in layers]
    made = []
    for kind in dict.fromkeys(site.kind for site in effects.sites if site.head is not None):
        heads = range(1 + max(site.head for site in effects.sites if site.kind == kind and site.head is not None))
        for role in effects.roles:
            rows = [[points.get((kind, role, layer, head)) for layer in layers] for head in heads]
            what = " ".join(part for part in ("" if kind == "z" else kind, f"at {role}" if role else "") if part)
            title = f"on {name}{f', {what}' if what else ''}"
            made.append(
                Grid(
                    _id(effects.convention, title, rows),
                    title,
                    [str(h) for h in heads],
                    columns,
                    rows,
                    "{column}.{row}",
                )
            )
    flat = list(
        dict.fromkeys((site.kind, role) for site in effects.sites if site.head is None for role in effects.roles)
    )
    if flat:
        kinds = {kind for kind, _ in flat}
        names = [(role or kind) if len(kinds) == 1 else f"{kind} {role or ''}".strip() for kind, role in flat]
        rows = [[points.get((kind, role, layer, None)) for layer in layers] for kind, role in flat]
        title = f"on {name}, {' and '.join(sorted(kinds))}"
        made.append(
            Grid(
                _id(effects.convention, title, rows), title, names, columns, rows, "{row}, layer {column}", down="role"
            )
        )
    return [grid for grid in made if any(p for row in grid.points for p in row)]


# --- behaviour -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """Consecutive tokens of one role: their ids, or how many there are where all prompts share them."""

    role: str
    ids: str


@dataclass(frozen=True)
class ShownPrompt:
    text: str
    spans: Sequence[Span]
    answer: str


@dataclass(frozen=True)
class ShownBehavior:
    name: str
    about: str
    facts: Sequence[tuple[str, str]]
    prompts: Sequence[ShownPrompt]


def behavior_html(behavior: Behavior) -> str:
    """The first prompts with their roles. A behaviour has no tokenizer: of a token it knows the id and the role."""
    n = min(N_PROMPTS, len(behavior))
    corruptions = [
        (f"corruption {name!r}", f"{corruption.about}{' (source of ablation values)' * (name == behavior.reference)}")
        for name, corruption in behavior.corruptions.items()
    ]
    facts = [
        ("prompts", f"{len(behavior)}, the first {n} below"),
        ("answer", f"{behavior.n_steps} tokens: {', '.join(behavior.step_names)}"),
        ("roles", " ".join(behavior.roles)),
        *corruptions,
    ]
    prompts = [
        ShownPrompt(_cut(text), _spans(behavior, behavior.clean, row), " ".join(map(str, answer)))
        for row, (text, answer) in enumerate(zip(behavior.texts[:n], behavior.answers[:n].tolist(), strict=True))
    ]
    return _fragment("behavior", ShownBehavior(behavior.name, behavior.about, facts, prompts))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else "…" + text[-LONGEST:]


def _spans(behavior: Behavior, prompts: Prompts, row: int) -> list[Span]:
    """Ids by role; of a span that lies in what all prompts share, only how many."""
    spans: list[tuple[str, list[int], int]] = []
    for position, (token, slot) in enumerate(
        zip(prompts.tokens[row].tolist(), prompts.slots[row].tolist(), strict=True)
    ):
        if slot < 0:
            continue
        role, _ = behavior.slots[slot]
        if not spans or spans[-1][0] != role:
            spans.append((role, [], position))
        spans[-1][1].append(token)
    return [
        Span(
            role,
            f"{len(ids)} tokens, the same in all"
            if start + len(ids) <= behavior.shared and len(ids) > 2
            else _ids(ids),
        )
        for role, ids, start in spans
    ]


def _ids(ids: Sequence[int]) -> str:
    more = f" … {len(ids)} in all" if len(ids) > MOST_IDS else ""
    return " ".join(map(str, ids[:MOST_IDS])) + more
