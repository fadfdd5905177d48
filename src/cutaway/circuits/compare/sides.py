"""The runs that are compared: read, named, and checked to be runs, several, and different ones."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.read import Record, read
from cutaway.core.errors import CutawayError
from cutaway.decoder import Site

MOST = 8
"""Runs side by side: more do not fit beside one another."""


@dataclass(frozen=True)
class Side:
    """One of the runs, by a short name of its own."""

    label: str
    record: Record

    @property
    def shape(self) -> tuple[int, int]:
        """Layers, and heads in a layer."""
        return self.record.n_layers, self.record.n_heads

    @property
    def seed(self) -> int | None:
        """Of the prompts and the search."""
        return self.record.circuit.provenance.get("options", {}).get("seed")

    @property
    def roles(self) -> dict[Site, str]:
        """The heads of the circuit, each with its role."""
        return {head.site: head.role for head in self.record.circuit.heads}

    def effects(self, corruption: str, step: str) -> Float[Tensor, " head"]:
        """The mean effect of every head of the model, layer by layer; NaN where none was measured."""
        measured = self.record.heads[corruption]
        points = [measured.of(site, step) for site in self.record.every_head]
        return torch.tensor([point[0] if point else torch.nan for point in points])

    def total(self, *steps: str) -> Float[Tensor, " head"]:
        """|effect| of every head, summed over corruptions and over `steps` (all, if none is given)."""
        parts = [self.effects(c, step) for c in self.record.corruptions for step in steps or self.record.steps]
        return torch.stack(parts).nan_to_num().abs().sum(0)


def sides(runs: Sequence[str | Path | Record]) -> tuple[Side, ...]:
    """Reads run folders (or takes their records as they are) and names them.

    Raises:
        CutawayError: fewer than two or more than `MOST`, one given twice, or a folder that is not a whole run.
    """
    if not 2 <= len(runs) <= MOST:
        given = "1 was given" if len(runs) == 1 else f"{len(runs)} were given"
        raise CutawayError(f"{given}: name 2 to {MOST} run folders of `cutaway circuits find` to compare")
    folders = [Path(run).resolve() for run in runs if not isinstance(run, Record)]
    if twice := [folder for i, folder in enumerate(folders) if folder in folders[:i]]:
        raise CutawayError(f"{twice[0]} is given twice: a run compared with itself says nothing")
    records = [run if isinstance(run, Record) else read(Path(run)) for run in runs]
    return tuple(Side(label, record) for label, record in zip(labels(runs), records, strict=True))


def labels(runs: Sequence[str | Path | Record]) -> list[str]:
    """The last part of every folder's path, or as many parts as it takes to tell them apart; records get numbers."""
    paths = [
        (f"run {i}",) if isinstance(run, Record) else Path(os.path.abspath(run)).parts for i, run in enumerate(runs, 1)
    ]
    for length in range(1, 1 + max(map(len, paths), default=0)):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"run {i}" for i in range(1, len(runs) + 1)]


def groups(found: Sequence[Side]) -> dict[tuple[int, int], list[Side]]:
    """Runs of models of one shape: shape → runs. Only there does a head of one have a counterpart in the other."""
    same: dict[tuple[int, int], list[Side]] = {}
    for side in found:
        same.setdefault(side.shape, []).append(side)
    return same
