"""A comparison as one self-contained page without a script: what it says; `compare.html.j2` sets it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cutaway.circuits.compare import tables
from cutaway.circuits.compare.comparison import Comparison
from cutaway.circuits.compare.cross import IN_ALL, N_RANDOM
from cutaway.circuits.compare.heads import HeadTable
from cutaway.circuits.compare.sides import Side
from cutaway.circuits.compare.tables import Matrix
from cutaway.circuits.page.drawing import Drawing
from cutaway.circuits.page.marks import OUTLINES, Mark, mark
from cutaway.circuits.page.numbers import Table, listed, number, percent
from cutaway.circuits.page.still import still
from cutaway.core.runs import Run

KIT = Path(__file__).parents[1]
"""Where the pages' style and macros lie."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page fetches nothing and runs nothing."""


@dataclass(frozen=True)
class Sketch:
    """One run's circuit; `hollow` are heads that only other circuits have."""

    label: str
    note: str
    drawing: Drawing
    about: str
    hollow: frozenset[str]


@dataclass(frozen=True)
class HeadCell:
    """One head in one run: its mark (None outside the circuit) and its effect."""

    mark: Mark | None
    effect: str


@dataclass(frozen=True)
class Heads:
    """Heads × runs for one shape: groups of rows by the number of circuits that a head is in."""

    shape: str
    runs: Sequence[str]
    groups: Sequence[tuple[str, Sequence[tuple[str, Sequence[HeadCell]]]]]


@dataclass(frozen=True)
class Page:
    """What the page says, in its order."""

    title: tuple[str, str]
    """Behaviours and models."""
    sentences: Sequence[str]
    warnings: Sequence[str]
    notes: Sequence[str]
    runs: Table
    legend: Sequence[Mark]
    sketches: Sequence[Sketch]
    heads: Sequence[Heads]
    overlaps: Table | None
    roles: Table
    kept: Sequence[Matrix]
    n_random: int
    correlations: Sequence[Matrix]
    steps: Sequence[Matrix]
    for_one_step: Table | None
    conventions: Table
    command: str
    versions: str

    @classmethod
    def of(cls, found: Comparison, manifest: dict) -> "Page":
        roles = dict.fromkeys(row.role for row in found.roles)
        order = list(OUTLINES)
        return cls(
            title=_title(found),
            sentences=_sentences(found),
            warnings=found.warnings,
            notes=[note for column in found.cross for note in column.notes],
            runs=tables.runs(found),
            legend=sorted(map(mark, roles), key=lambda m: (order.index(m.kind), m.role)),
            sketches=[_sketch(side, found) for side in found.sides],
            heads=[_heads(table) for table in found.heads],
            overlaps=tables.overlaps(found),
            roles=tables.roles(found),
            kept=tables.kept(found),
            n_random=N_RANDOM,
            correlations=[*tables.effects_between(found), *tables.correlations(found)],
            steps=tables.steps(found),
            for_one_step=tables.for_one_step(found),
            conventions=tables.conventions(found),
            command=manifest.get("command", ""),
            versions=", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items()),
        )


def render(found: Comparison, run: Run, manifest: dict | None = None) -> Path:
    """Writes `compare.html` into the folder of `run`; `manifest` is what will stand in its `manifest.json`."""
    return run.text("compare.html", html(Page.of(found, manifest or {})))


def html(page: Page) -> str:
    """The page; everything in it is escaped but our own style."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([here, KIT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "\n".join(file.read_text(encoding="utf-8") for file in (KIT / "page/style.css", here / "compare.css"))
    return environment.get_template("compare.html.j2").render(page=page, style=Markup(style), policy=POLICY)


def _title(found: Comparison) -> tuple[str, str]:
    """Each named once."""
    circuits = [side.record.circuit for side in found.sides]
    return listed(dict.fromkeys(c.behavior for c in circuits)), listed(dict.fromkeys(c.model for c in circuits))


def _sentences(found: Comparison) -> list[str]:
    """What there is to say first."""
    said = []
    for table in found.heads:
        n, both = len(table.runs), len(table.within(at_least=len(table.runs)))
        sizes = [sum(row.roles[i] is not None for row in table.rows) for i in range(n)]
        pairs = [o for o in found.overlaps if {o.a, o.b} <= set(table.runs)]
        mean, chance = (sum(x) / len(pairs) for x in ([o.jaccard for o in pairs], [o.expected for o in pairs]))
        both_or_all, each = ("both", "They share") if n == 2 else (f"all {n}", "Two of them share, on average,")
        said.append(
            f"{listed(table.runs)} have circuits of {listed(map(str, sizes))} heads; {_count(both)} in {both_or_all}, "
            f"{len(table.rows)} in any. {each} {percent(mean)} of their heads (Jaccard index); random sets of these sizes "
            f"would share {percent(chance)}."
        )
        said += _crossed(found, table)
    if not found.heads:
        said.append("No two of these models have the same shape, so their heads are compared by role and depth.")
    return said


def _count(n: int) -> str:
    return {0: "none is", 1: "one is"}.get(n, f"{n} are")


def _crossed(found: Comparison, table: HeadTable) -> list[str]:
    """What circuits keep on each other's prompts, at least and at most; and what their common heads keep."""
    columns = [column for column in found.cross if column.run in table.runs and column.kept]
    others = [_means(kept) for c in columns for kept in c.kept if kept.heads in table.runs and kept.heads != c.run]
    common = [_means(kept) for column in columns for kept in column.kept if kept.heads == IN_ALL]
    said = []
    if values := [x for means in others for x in means]:
        said.append(
            f"On each other’s unseen prompts they keep {percent(min(values))} to {percent(max(values))} of the model’s "
            "performance on an answer token."
        )
    if values := [x for means in common for x in means]:
        whose = "both" if len(table.runs) == 2 else "all"
        said.append(f"The heads that {whose} have, alone, keep {percent(min(values))} to {percent(max(values))}.")
    return [" ".join(said)] if said else []


def _means(kept) -> list[float]:
    return [point[0] for point in kept.faithfulness if point]


def _sketch(side: Side, found: Comparison) -> Sketch:
    table = next((table for table in found.heads if side.label in table.runs), None)
    counts = {str(row.site): row.count for row in table.rows} if table else {}
    others = max(len(table.runs) - 1, 1) if table else 1
    roles = {str(site): role for site, role in side.roles.items()}
    totals = dict(zip(side.record.every_head, side.total().tolist(), strict=True))
    shares = {site: (counts.get(site, 1) - 1) / others for site in roles}
    record = side.record
    return Sketch(
        side.label,
        f"{record.circuit.behavior} in {record.circuit.model}, {len(roles)} of {len(totals)} heads",
        still(side.shape, roles, totals, shares),
        "; ".join(f"{site} {role}" for site, role in roles.items()) or "No heads.",
        frozenset(counts.keys() - roles.keys()),
    )


def _heads(table: HeadTable) -> Heads:
    n = len(table.runs)
    groups: dict[str, list[tuple[str, list[HeadCell]]]] = {}
    for row in table.rows:
        name = f"in {'both' if n == 2 else 'all'}" if row.count == n else f"in {row.count} of {n}"
        cells = [
            HeadCell(mark(role) if role else None, number(x)) for role, x in zip(row.roles, row.effects, strict=True)
        ]
        groups.setdefault(name, []).append((str(row.site), cells))
    return Heads("{} × {}".format(*table.shape), table.runs, list(groups.items()))
