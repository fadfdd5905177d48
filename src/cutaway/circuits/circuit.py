"""A circuit: heads with roles and effects, and where it came from."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cutaway.core.errors import CutawayError
from cutaway.decoder import Site, parse_site


@dataclass(frozen=True)
class CircuitHead:
    """One head of a circuit.

    `effect` and `dropped` have one (mean, low, high) for each answer step: the strongest patching effect on the logit
    difference over the corruptions (None where none was measured), and what the circuit loses in faithfulness without it.
    """

    site: Site
    role: str
    evidence: dict[str, float]
    effect: tuple[tuple[float, float, float] | None, ...]
    dropped: tuple[tuple[float, float, float], ...]

    def to_dict(self) -> dict:
        return asdict(self) | {"site": str(self.site)}


@dataclass(frozen=True)
class Circuit:
    """Heads in order of layer, and the provenance that makes the finding repeatable."""

    model: str
    behavior: str
    step_names: tuple[str, ...]
    heads: tuple[CircuitHead, ...]
    method: dict
    provenance: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.heads)

    def __repr__(self) -> str:
        listed = ", ".join(f"{head.site} {head.role}" for head in self.heads)
        return f"Circuit({self.behavior!r} in {self.model!r}: {listed})"

    def _repr_html_(self) -> str:
        """The drawing and a table of heads, for notebooks."""
        from cutaway.circuits.page.notebook import circuit_html

        return circuit_html(self)

    @property
    def sites(self) -> frozenset[Site]:
        return frozenset(head.site for head in self.heads)

    def by_role(self) -> dict[str, list[Site]]:
        groups: dict[str, list[Site]] = {}
        for head in self.heads:
            groups.setdefault(head.role, []).append(head.site)
        return groups

    def to_dict(self) -> dict:
        return asdict(self) | {"heads": [head.to_dict() for head in self.heads]}

    @classmethod
    def from_dict(cls, data: dict) -> "Circuit":
        def point(values) -> tuple | None:
            return None if values is None else tuple(values)

        heads = tuple(
            CircuitHead(
                parse_site(head["site"]),
                head["role"],
                head["evidence"],
                tuple(map(point, head["effect"])),
                tuple(map(tuple, head["dropped"])),
            )
            for head in data["heads"]
        )
        return cls(**(data | {"heads": heads, "step_names": tuple(data["step_names"])}))

    @classmethod
    def load(cls, path: str | Path) -> "Circuit":
        """Reads `circuit.json`, or the one in a run folder; raises `CutawayError` where there is none."""
        path = Path(path)
        file = path / "circuit.json" if path.is_dir() else path
        try:
            return cls.from_dict(json.loads(file.read_text()))
        except FileNotFoundError as error:
            raise CutawayError(
                f"{file} does not exist: give a run folder of `cutaway circuits find`, or its circuit.json"
            ) from error
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CutawayError(f"{file} is not a circuit file of this package: {error}") from error
