"""The numbers of nested tables, by dotted name: `{"test": {"spans": {"f1": …}}}` has a `test.spans.f1`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from cutaway.core.estimates import Estimate, OverSeeds

Score = int | float | Estimate | OverSeeds


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested tables as one, by dotted name, whatever their values are."""
    found: dict[str, Any] = {}
    for name, x in tree.items():
        found |= flat(x, f"{before}{name}.") if isinstance(x, Mapping) else {before + name: x}
    return found


def numbers(
    tree: Any, before: Sequence[str] = (), *, sure: bool = False, deepest: int | None = None, steps: Sequence[Any] = ()
) -> dict[str, Score]:
    """Every number, those that are written as tables of mean and interval, or mean and values, as what they are.

    Args:
        before: what names begin with.
        sure: only those with an interval or a deviation. Of lists, which may be anything, these alone are taken.
        deepest: leave out what has more parts in its name.
        steps: what the items of lists as long are called; a table may say so itself, `"steps": ["letter 1", "letter 2"]`. Else
            they count from 1.
    """
    if (score := _score(tree)) is not None:
        return {".".join(before) or "score": score} if isinstance(score, Estimate | OverSeeds) or not sure else {}
    items: Iterable[tuple[Any, Any]] = ()
    if deepest is not None and len(before) >= deepest:
        return {}
    if isinstance(tree, Mapping):
        steps = tree["steps"] if isinstance(tree.get("steps"), list) else steps
        items = tree.items()
    elif isinstance(tree, list):
        sure, items = True, zip(steps if len(steps) == len(tree) else range(1, len(tree) + 1), tree, strict=True)
    found: dict[str, Score] = {}
    for name, x in items:
        found |= numbers(x, (*before, str(name)), sure=sure, deepest=deepest, steps=steps)
    return found


def value(score: Score) -> float:
    """The number itself, without what is said of its uncertainty."""
    return score.mean if isinstance(score, Estimate | OverSeeds) else float(score)


def is_number(x: Any) -> TypeGuard[int | float]:
    """Greater whole numbers than these have no float."""
    return isinstance(x, float) or (type(x) is int and abs(x) < 2**63)


def _score(x: Any) -> Score | None:
    """What a value is, if it is a number; None for a table of others, and all else."""
    if is_number(x):
        return x
    if not isinstance(x, Mapping) or not is_number(x.get("mean")):
        return None
    if is_number(x.get("low")) and is_number(x.get("high")):
        n = x.get("n")
        return Estimate(float(x["mean"]), float(x["low"]), float(x["high"]), n if type(n) is int else 0)
    values = x.get("values")
    if isinstance(values, list) and values and all(map(is_number, values)):
        return OverSeeds.of([float(each) for each in values])
    return float(x["mean"])
