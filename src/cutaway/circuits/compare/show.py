"""A comparison as tables a person can read in a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cutaway.circuits.compare.comparison import Comparison
from cutaway.circuits.compare.cross import N_RANDOM, Column
from cutaway.circuits.compare.effects import ALL
from cutaway.circuits.compare.heads import HeadTable
from cutaway.circuits.page.numbers import DASH, number, percent
from cutaway.circuits.read import Point


def summary(found: Comparison) -> RenderableType:
    """The tables at the end of `cutaway circuits compare`."""
    tables = [
        _runs(found),
        *map(_heads, found.heads),
        _overlaps(found),
        _roles(found),
        _correlations(found),
        _steps(found),
        _one_step(found),
        *(_cross(found.cross, step) for step in _measured_steps(found.cross)),
    ]
    lines = [Text(f"Beware: {line}", style="bold") for line in found.warnings]
    lines += [Text(f"Note: {line}", style="bold") for column in found.cross for line in column.notes]
    return Group(*(part for table in tables if table.rows for part in (table, Text())), *lines)


def _table(title: str, columns: Sequence[str], words: int = 1) -> Table:
    """The first `words` columns are text, the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if i < words else "right")
    return table


def _add(table: Table, *cells: str) -> None:
    """Cells are data: brackets in them are no markup."""
    table.add_row(*map(Text, cells))


def _runs(found: Comparison) -> Table:
    table = _table(
        "Runs: what the circuit keeps on its own unseen prompts",
        ("run", "model", "behaviour", "seed", "heads", "keeps"),
        4,
    )
    for side in found.sides:
        record = side.record
        kept = ", ".join(percent(p and p[0]) for p in record.verification["faithfulness"])
        size = f"{len(record.circuit)} of {record.n_layers} × {record.n_heads}"
        seed = DASH if side.seed is None else str(side.seed)
        _add(table, side.label, record.circuit.model, record.circuit.behavior, seed, size, kept)
    return table


def _heads(heads: HeadTable) -> Table:
    title = "Heads of the circuits, and |effect| in all (a dot: not in the circuit)"
    table = _table(title, ("head", "in", *heads.runs), 2 + len(heads.runs))
    for row in heads.rows:
        cells = [f"{number(x):>6}  {role or '·'}" for role, x in zip(row.roles, row.effects, strict=True)]
        _add(table, str(row.site), f"{row.count} of {len(heads.runs)}", *cells)
    return table


def _overlaps(found: Comparison) -> Table:
    columns = ("", "shared", "same role", "of in all", "Jaccard", "by chance", "p", "role: shared of a, b")
    table = _table("Heads shared by two circuits, beside random sets of the same sizes", columns, 1)
    table.columns[-1].justify = "left"
    for o in found.overlaps:
        roles = ", ".join(f"{role} {both} of {a}, {b}" for role, (a, b, both) in o.roles.items() if a and b)
        chance = percent(o.expected)
        _add(
            table,
            f"{o.a} ∩ {o.b}",
            str(o.shared),
            str(o.same_role),
            str(o.union),
            percent(o.jaccard),
            chance,
            f"{o.p:.1g}",
            roles,
        )
    return table


def _roles(found: Comparison) -> Table:
    title = "Roles: heads, and their mean depth (layer / layers; shallowest to deepest)"
    table = _table(title, ("role", *found.labels), 1 + len(found.labels))
    for role in dict.fromkeys(row.role for row in found.roles):
        cells = []
        for row in found.roles:
            if row.role == role:
                low, middle, high = (number(row.depth[i]) for i in (1, 0, 2)) if row.depth else (DASH,) * 3
                cells.append(f"{len(row.heads)}  at {middle} ({low} to {high})" if row.depth else DASH)
        _add(table, role, *cells)
    return table


FEW = 3
"""Runs whose correlations are all shown."""

COEFFICIENTS = ("Spearman ρ", "Kendall τ", "Pearson r")


def _correlations(found: Comparison) -> Table:
    title = "Do the same heads matter? Agreement of the effects of all heads (|effect|, where summed)"
    table = _table(title, ("runs", "corruption", "step", *COEFFICIENTS), 3)
    for each in _few(found, found.correlations):
        names = (ALL, "") if each.corruption == ALL else (each.corruption, each.step)
        _add(table, f"{each.a}, {each.b}", *names, *_coefficients(each.found))
    return table


def _steps(found: Comparison) -> Table:
    title = "Within a run: does one answer token use the heads of another?"
    table = _table(title, ("run", "steps", "corruption", *COEFFICIENTS), 3)
    for each in _few(found, found.steps):
        _add(table, each.run, f"{each.a}, {each.b}", each.corruption, *_coefficients(each.found))
    return table


def _few(found: Comparison, rows: Sequence) -> Iterable:
    """All of them for a few runs; for many those over all corruptions, the rest is in the CSVs."""
    return (row for row in rows if len(found.sides) <= FEW or row.corruption == ALL)


def _coefficients(found) -> Iterable[str]:
    return (_said(point, number) for point in (found.spearman, found.kendall, found.pearson))


def _one_step(found: Comparison) -> Table:
    table = _table(
        "Heads that one answer token alone needs: what it loses without them",
        ("run", "step", "head", "role", "costs"),
        4,
    )
    for each in found.for_one_step:
        _add(table, each.run, each.step, str(each.site), each.role, _said(each.cost, percent))
    return table


def _measured_steps(cross: Sequence[Column]) -> list[str]:
    return list(dict.fromkeys(step for column in cross if column.kept for step in column.steps))


def _cross(cross: Sequence[Column], step: str) -> Table:
    """Columns are runs, rows circuits."""
    title = f"Kept of {step}: heads of each row on the prompts of each column (in brackets: the best of {N_RANDOM} random circuits)"
    table = _table(title, ("heads of", "size", *(column.run for column in cross)), 1)
    for name, size in dict.fromkeys((kept.heads, kept.size) for column in cross for kept in column.kept):
        _add(table, name, str(size), *(_kept(column, name, step) for column in cross))
    return table


def _kept(column: Column, name: str, step: str) -> str:
    kept = column.of(name)
    if kept is None or step not in column.steps:
        return DASH
    i = column.steps.index(step)
    return f"{_said(kept.faithfulness[i], percent)} ({percent(kept.best[i])})"


def _said(point: Point, shown) -> str:
    return DASH if point is None else "{} [{}, {}]".format(*map(shown, point))
