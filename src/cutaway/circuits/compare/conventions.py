"""Do the numbers compare at all? How each run measured, and one line for everything in which they differ that matters."""

from collections.abc import Iterator, Sequence

from cutaway.circuits.compare.sides import Side, groups

MUST_AGREE = ("kind", "direction", "metric", "sign", "ablation")
"""Effects whose kind, direction, metric or sign differ do not compare, nor does faithfulness under other ablations."""


def conventions(found: Sequence[Side]) -> dict[str, tuple[str, ...]]:
    """What is said of how it was measured: name → one value a run."""
    return {
        name: tuple(_of(side, name) for side in found) for name in (*MUST_AGREE, "prompts", "search", "floor", "dtype")
    }


def _of(side: Side, name: str) -> str:
    about = side.record.circuit
    told = {
        "ablation": about.method.get("ablation"),
        "search": about.method.get("name"),
        "floor": about.method.get("floor"),
        "dtype": about.provenance.get("dtype"),
    }
    # a run's effect maps agree with one another unless somebody put them together by hand
    key = "n" if name == "prompts" else name
    values = [told[name]] if name in told else [effects.convention.get(key) for effects in side.record.heads.values()]
    return " / ".join(dict.fromkeys("unknown" if value is None else str(value) for value in values))


def warnings(found: Sequence[Side]) -> tuple[str, ...]:
    """One line for each convention that is not the same in all runs, for models that only look alike, and for equal prompts."""
    table = conventions(found)
    lines = [_differs(name, table[name], found) for name in MUST_AGREE if len(set(table[name])) > 1]
    for (layers, heads), same in groups(found).items():
        models = list(dict.fromkeys(side.record.circuit.model for side in same))
        if len(models) > 1:
            lines.append(
                f"{' and '.join(models)} have the same shape ({layers} × {heads} heads), but a head of one is the "
                "same head in the other only if one was tuned from the other"
            )
    return (*lines, *_same_prompts(found))


def _same_prompts(found: Sequence[Side]) -> Iterator[str]:
    same: dict[str | None, list[str]] = {}
    for side in found:
        same.setdefault(side.record.circuit.provenance.get("prompts_sha256"), []).append(side.label)
    for prompts, labels in same.items():
        if prompts and len(labels) > 1:
            yield f"{' and '.join(labels)} looked at the same prompts: that they agree says nothing about others"


def _differs(name: str, values: Sequence[str], found: Sequence[Side]) -> str:
    said = ", ".join(f"{value} in {side.label}" for value, side in zip(values, found, strict=True))
    what = "faithfulness does" if name == "ablation" else "effects do"
    return f"{name} differs ({said}): {what} not compare between them"
