"""The tables of the page: what stands in them, and how dark a cell is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cutaway.circuits.compare.comparison import Comparison
from cutaway.circuits.compare.cross import IN_ALL, IN_ANY, Column
from cutaway.circuits.compare.effects import ALL
from cutaway.circuits.compare.rank import Agreement
from cutaway.circuits.page.numbers import DASH, NOTHING, Row, Table, Value, number, percent, share, texts, value
from cutaway.circuits.read import Point


@dataclass(frozen=True)
class Shaded(Value):
    """A cell and its depth of colour, from 0 to 100; `below` where the value is negative. `note` stands under the number."""

    depth: int = 0
    below: bool = False
    note: str = ""


@dataclass(frozen=True)
class Matrix(Table):
    """A table with shaded cells, whose columns stand in groups: name and number of columns."""

    groups: Sequence[tuple[str, int]] = ()


def _shaded(point: Point, shown: Callable[[Point], Value] = value, note: str = "") -> Value:
    if point is None:
        return NOTHING
    cell = shown(point)
    return Shaded(cell.text, cell.interval, round(100 * min(abs(point[0]), 1)), point[0] < 0, note)


def runs(found: Comparison) -> Table:
    rows = []
    for side in found.sides:
        record, seed = side.record, DASH if side.seed is None else str(side.seed)
        kept = ", ".join(percent(p and p[0]) for p in record.verification["faithfulness"])
        size = f"{len(record.circuit)} of {record.n_layers} × {record.n_heads}"
        about = texts(record.circuit.model, record.circuit.behavior, seed, ", ".join(record.steps), size, kept)
        rows.append(Row(side.label, about))
    columns = ("model", "behaviour", "seed", "answer", "heads", "keeps")
    return Table("runs-table", "What each circuit keeps on the unseen prompts of its own run.", columns, rows, "run")


def overlaps(found: Comparison) -> Table | None:
    rows = [
        Row(
            f"{o.a}, {o.b}",
            texts(o.shared, o.union, o.same_role, percent(o.jaccard), percent(o.expected), _small(o.p)),
            "; ".join(f"{role}: {both} of {a} and {b}" for role, (a, b, both) in o.roles.items() if a and b),
        )
        for o in found.overlaps
    ]
    columns = ("shared", "in either", "same role", "Jaccard", "by chance", "p")
    caption = (
        "Heads that two circuits share; under the names, role by role, those that have the role in both. By chance: the "
        "Jaccard index of random sets of the same sizes, on average; p: the chance that such sets share as many or more. "
        "A small p says only that the circuits were not drawn from a hat."
    )
    return Table("overlaps-table", caption, columns, rows, "circuits") if rows else None


SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _small(p: float) -> str:
    """`0.04`, `2·10⁻²²`."""
    if p >= 0.01 or p == 0:
        return number(p)
    digit, power = f"{p:.0e}".split("e")
    return f"{digit}·10{str(int(power)).translate(SUPERSCRIPT)}"


def roles(found: Comparison) -> Table:
    rows = []
    for role in dict.fromkeys(row.role for row in found.roles):
        mine = [row for row in found.roles if row.role == role]
        cells = [
            Value(f"{len(row.heads)} at {number(row.depth[0])}", f"{number(row.depth[1])} to {number(row.depth[2])}")
            if row.depth
            else NOTHING
            for row in mine
        ]
        rows.append(Row(role, cells))
    caption = (
        "Heads of each role, and their depth: layer over number of layers, the mean and from shallowest to deepest. It says "
        "something across models of different shape."
    )
    return Table("roles-table", caption, found.labels, rows, "role")


def kept(found: Comparison) -> list[Matrix]:
    """One matrix for every answer step: circuits × runs."""
    measured = [column for column in found.cross if column.kept]
    steps = dict.fromkeys(step for column in measured for step in column.steps)
    named = dict.fromkeys((each.heads, each.size) for column in measured for each in column.kept)
    made = []
    for i, step in enumerate(steps):
        rows = [
            Row(_heads_of(name), [_kept(column, name, step) for column in found.cross], f"{size} heads")
            for name, size in named
        ]
        groups = [("on the prompts of", len(found.cross))]
        made.append(
            Matrix(f"kept-{i}", f"Kept of {step}.", [column.run for column in found.cross], rows, "heads of", groups)
        )
    return made


def _heads_of(name: str) -> str:
    return {IN_ALL: "all circuits have", IN_ANY: "any circuit has"}.get(name, name)


def _kept(column: Column, name: str, step: str) -> Value:
    found = column.of(name)
    if found is None or step not in column.steps:
        return NOTHING
    i = column.steps.index(step)
    return _shaded(found.faithfulness[i], share, f"random {percent(found.median[i])}, best {percent(found.best[i])}")


COEFFICIENTS = (
    ("spearman", "Spearman’s ρ", "order: every head counts alike, and most do little"),
    ("pearson", "Pearson’s r", "size: the few heads that do much count most"),
)


def effects_between(found: Comparison) -> list[Matrix]:
    """Runs × runs, for shapes that three runs or more have."""
    summed = {frozenset((c.a, c.b)): c.found.spearman for c in found.correlations if c.corruption == ALL}
    caption = "Spearman’s ρ of |effect|, summed over corruptions and answer tokens, of all {} × {} heads."
    return [
        Matrix(
            f"between-{i}",
            caption.format(*table.shape),
            table.runs,
            [
                Row(a, [_shaded(summed[frozenset((a, b))]) if a != b else NOTHING for b in table.runs])
                for a in table.runs
            ],
            "run",
            [("and", len(table.runs))],
        )
        for i, table in enumerate(found.heads)
        if len(table.runs) > 2
    ]


def correlations(found: Comparison) -> list[Matrix]:
    """One matrix for every coefficient: pairs of runs × corruptions and steps."""
    cells = {(f"{c.a}, {c.b}", (c.corruption, c.step)): c.found for c in found.correlations}
    caption = "Agreement of the effects of all heads between two runs, by {} ({}), with 95% intervals over heads."
    return _agreements("correlations", caption, cells, "runs")


def steps(found: Comparison) -> list[Matrix]:
    """One matrix for every coefficient: runs and pairs of their steps × corruptions."""
    cells = {(f"{s.run}: {s.a}, {s.b}", (s.corruption, "")): s.found for s in found.steps}
    caption = "Agreement of the effects of all heads between two answer tokens of one run, by {} ({})."
    return _agreements("steps", caption, cells, "run: tokens")


Cells = dict[tuple[str, tuple[str, str]], Agreement]
"""Row, and corruption and step → what was found."""


def _agreements(id: str, caption: str, cells: Cells, corner: str) -> list[Matrix]:
    columns = list(dict.fromkeys(column for _, column in cells))
    spans = {corruption: sum(c == corruption for c, _ in columns) for corruption, _ in columns}
    ordered = [column for corruption in spans for column in columns if column[0] == corruption]
    groups = [("|effect|" if name == ALL else name, n) for name, n in spans.items()]
    made = []
    for key, name, about in COEFFICIENTS:
        rows = [Row(row, _points(cells, row, ordered, key)) for row in dict.fromkeys(row for row, _ in cells)]
        heads = ["summed" if step == ALL else step for _, step in ordered]
        made.append(Matrix(f"{id}-{key}", caption.format(name, about), heads, rows, corner, groups))
    return made if cells else []


def _points(cells: Cells, row: str, columns: Sequence[tuple[str, str]], key: str) -> list[Value]:
    found = [cells.get((row, column)) for column in columns]
    return [_shaded(getattr(each, key)) if each else NOTHING for each in found]


def for_one_step(found: Comparison) -> Table | None:
    rows = [
        Row(str(each.site), [*texts(each.run, each.role, each.step), share(each.cost)]) for each in found.for_one_step
    ]
    caption = (
        "Heads of a circuit that one answer token alone needs: dropping them costs it something (the 95% interval lies above "
        "0), costs no other token anything for sure, and the intervals do not meet."
    )
    return Table("one-step-table", caption, ("run", "role", "token", "costs"), rows, "head") if rows else None


def conventions(found: Comparison) -> Table:
    rows = [Row(name, texts(*values)) for name, values in found.conventions.items()]
    return Table(
        "conventions-table", "How each run measured. Numbers compare only where these agree.", found.labels, rows, "of"
    )
