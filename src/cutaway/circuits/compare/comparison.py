"""The result: everything that was found out about runs side by side, and as plain data."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from cutaway.circuits.compare.conventions import conventions, warnings
from cutaway.circuits.compare.cross import Column, Devices, columns
from cutaway.circuits.compare.effects import Correlation, between
from cutaway.circuits.compare.heads import HeadTable, RoleRow, head_table, role_rows
from cutaway.circuits.compare.overlap import Overlap, overlap
from cutaway.circuits.compare.sides import Side, groups, sides
from cutaway.circuits.compare.steps import OneStep, StepPair, for_one_step, step_pairs
from cutaway.circuits.read import Record
from cutaway.core.progress import Progress


@dataclass(frozen=True)
class Comparison:
    """Two or more runs side by side.

    `heads`, `overlaps` and `correlations` are about runs of the same shape (layers × heads), and empty where all shapes
    differ; `roles` and `steps` are about every run.
    """

    sides: tuple[Side, ...]
    conventions: dict[str, tuple[str, ...]]
    """How each run measured: name → one value a run."""
    warnings: tuple[str, ...]
    """What does not compare, one line each."""
    heads: tuple[HeadTable, ...]
    """One for every shape that several runs have."""
    roles: tuple[RoleRow, ...]
    overlaps: tuple[Overlap, ...]
    correlations: tuple[Correlation, ...]
    steps: tuple[StepPair, ...]
    for_one_step: tuple[OneStep, ...]
    cross: tuple[Column, ...]
    """What circuits keep of each other's runs; empty if that was not asked for."""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(side.label for side in self.sides)

    def __repr__(self) -> str:
        shared = ", ".join(f"{o.a} and {o.b} share {o.shared} of {o.union} heads" for o in self.overlaps)
        return f"Comparison({', '.join(self.labels)}{': ' if shared else ''}{shared})"

    def to_dict(self) -> dict:
        """Plain data; heads become their names, what is unknown becomes None."""
        data = {name: value for name, value in vars(self).items() if name not in ("sides", "overlaps")}
        data = {"runs": [facts(side) for side in self.sides], **data}
        data["overlaps"] = [{**asdict(o), "jaccard": o.jaccard} for o in self.overlaps]
        return json.loads(json.dumps(data, default=_plain), parse_constant=lambda name: None)


def _plain(value):
    return vars(value) if hasattr(value, "__dataclass_fields__") and not hasattr(value, "kind") else str(value)


def facts(side: Side) -> dict:
    """What a run is about."""
    circuit = side.record.circuit
    return {
        "run": side.label,
        "model": circuit.model,
        "behavior": circuit.behavior,
        "seed": side.seed,
        "steps": side.record.steps,
        "layers": side.record.n_layers,
        "heads": side.record.n_heads,
        "circuit": {str(head.site): head.role for head in circuit.heads},
        "faithfulness": side.record.verification["faithfulness"],
        "n": side.record.verification["n"],
        "prompts_sha256": circuit.provenance.get("prompts_sha256"),
    }


def compare(
    runs: Sequence[str | Path | Record],
    *,
    cross: bool = True,
    progress: Progress = Progress(),  # noqa: B008 - has no state
    device: Devices = "cpu",
    opened: Callable[[str], str] = str,
) -> Comparison:
    """Puts finished runs of `cutaway circuits find` side by side.

    Args:
        runs: two to eight run folders, or what `read` made of them.
        cross: also measure what every circuit keeps of the other runs, which loads their models.
        device: where to measure that.
        opened: given the name that a run has of its model, what `cutaway.load` takes for it.

    Raises:
        CutawayError: too few or too many runs, one twice, or a folder that is not a whole run.
    """
    found = sides(runs)
    several = [same for same in groups(found).values() if len(same) > 1]
    return Comparison(
        sides=found,
        conventions=conventions(found),
        warnings=warnings(found),
        heads=tuple(map(head_table, several)),
        roles=role_rows(found),
        overlaps=tuple(_overlap(a, b) for same in several for a, b in combinations(same, 2)),
        correlations=tuple(each for same in several for each in between(same)),
        steps=tuple(each for side in found for each in step_pairs(side)),
        for_one_step=tuple(each for side in found for each in for_one_step(side)),
        cross=columns(found, progress, device, opened) if cross else (),
    )


def _overlap(a: Side, b: Side) -> Overlap:
    layers, heads = a.shape
    return overlap((a.label, a.roles), (b.label, b.roles), layers * heads)
