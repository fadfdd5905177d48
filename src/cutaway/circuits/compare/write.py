"""A comparison as files: `compare.json` has everything, the CSVs one table each."""

from cutaway.circuits.compare.comparison import Comparison
from cutaway.circuits.read import Point
from cutaway.core.runs import Run


def write(found: Comparison, run: Run) -> None:
    """Writes every table that has rows."""
    run.json("compare.json", found.to_dict())
    tables = {
        "heads": head_rows(found),
        "roles": role_rows(found),
        "overlaps": overlap_rows(found),
        "correlations": correlation_rows(found),
        "steps": step_rows(found),
        "cross": cross_rows(found),
    }
    for name, rows in tables.items():
        if rows:
            run.csv(f"{name}.csv", rows)


def head_rows(found: Comparison) -> list[dict]:
    """One row per head and run of a shape; `role` is empty where the head is outside the circuit."""
    return [
        {"head": str(row.site), "run": run, "role": role or "", "effect": effect, "circuits": row.count}
        for table in found.heads
        for row in table.rows
        for run, role, effect in zip(table.runs, row.roles, row.effects, strict=True)
    ]


def role_rows(found: Comparison) -> list[dict]:
    """One row per role and run."""
    names = ("depth", "shallowest", "deepest")
    return [
        {"role": row.role, "run": row.run, "heads": " ".join(map(str, row.heads)), "count": len(row.heads)}
        | dict(zip(names, row.depth or ("", "", ""), strict=True))
        for row in found.roles
    ]


def overlap_rows(found: Comparison) -> list[dict]:
    """One row per pair of runs."""
    names = ("a", "b", "shared", "union", "same_role", "jaccard", "expected", "expected_shared", "p")
    return [{name: getattr(overlap, name) for name in names} for overlap in found.overlaps]


def correlation_rows(found: Comparison) -> list[dict]:
    """One row per pair of runs, corruption, step and coefficient."""
    return [
        {"a": each.a, "b": each.b, "corruption": each.corruption, "step": each.step, "coefficient": name}
        | _point(point)
        for each in found.correlations
        for name, point in _coefficients(each)
    ]


def step_rows(found: Comparison) -> list[dict]:
    """One row per run, corruption, pair of steps and coefficient."""
    return [
        {"run": each.run, "corruption": each.corruption, "a": each.a, "b": each.b, "coefficient": name} | _point(point)
        for each in found.steps
        for name, point in _coefficients(each)
    ]


def cross_rows(found: Comparison) -> list[dict]:
    """One row per circuit, run and step."""
    return [
        {"heads_of": kept.heads, "size": kept.size, "run": column.run, "step": step}
        | _point(kept.faithfulness[i])
        | {"random_median": kept.median[i], "random_best": kept.best[i]}
        for column in found.cross
        for kept in column.kept
        for i, step in enumerate(column.steps)
    ]


def _coefficients(each) -> list[tuple[str, Point]]:
    return [(name, getattr(each.found, name)) for name in ("spearman", "kendall", "pearson")]


def _point(point: Point) -> dict:
    return dict(zip(("value", "low", "high"), point or ("", "", ""), strict=True))
