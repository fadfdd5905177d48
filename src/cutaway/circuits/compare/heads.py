"""Which heads are in which circuit, and in which role: by their number where shapes agree, by role and depth everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from cutaway.circuits.compare.sides import Side
from cutaway.circuits.read import place
from cutaway.decoder import Site


@dataclass(frozen=True)
class HeadRow:
    """A head that is in a circuit of some run; `roles` and `effects` have one for each run of the group.

    `roles` is None where the head is not in the circuit; `effects` is |effect| on the metric, summed over corruptions and
    answer steps, which heads outside have as well.
    """

    site: Site
    roles: tuple[str | None, ...]
    effects: tuple[float, ...]

    @property
    def count(self) -> int:
        """Runs whose circuit it is in."""
        return sum(role is not None for role in self.roles)


@dataclass(frozen=True)
class HeadTable:
    """Heads of the circuits of runs that have the same shape: those in all circuits first, those in one last."""

    shape: tuple[int, int]
    runs: tuple[str, ...]
    rows: tuple[HeadRow, ...]

    def within(self, *, at_least: int) -> frozenset[Site]:
        """Heads that are in so many circuits."""
        return frozenset(row.site for row in self.rows if row.count >= at_least)


def head_table(same: Sequence[Side]) -> HeadTable:
    """The heads of runs of one shape, side by side."""
    sites = sorted({site for side in same for site in side.roles}, key=place)
    totals = [dict(zip(side.record.every_head, side.total().tolist(), strict=True)) for side in same]
    rows = [
        HeadRow(site, tuple(side.roles.get(site) for side in same), tuple(total[str(site)] for total in totals))
        for site in sites
    ]
    ordered = sorted(rows, key=lambda row: -row.count)
    return HeadTable(same[0].shape, tuple(side.label for side in same), tuple(ordered))


@dataclass(frozen=True)
class RoleRow:
    """One role in one run: its heads, and where in the model they stand (layer / number of layers; None without heads)."""

    role: str
    run: str
    heads: tuple[Site, ...]
    depth: tuple[float, float, float] | None
    """Mean, shallowest, deepest."""


def role_rows(found: Sequence[Side]) -> tuple[RoleRow, ...]:
    """Every role in every run: what can be said of models of different shape."""
    roles = dict.fromkeys(head.role for side in found for head in side.record.circuit.heads)
    return tuple(_role(role, side) for role in sorted(roles) for side in found)


def _role(role: str, side: Side) -> RoleRow:
    heads = tuple(site for site, named in side.roles.items() if named == role)
    depths = [site.layer / side.record.n_layers for site in heads]
    depth = (sum(depths) / len(depths), min(depths), max(depths)) if depths else None
    return RoleRow(role, side.label, heads, depth)
