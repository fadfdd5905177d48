"""The types that a mention may have, in groups from coarse to fine.

A list is a file with a type on each line, perhaps with a tab and its group. Where no groups are written, two kinds of published
lists say them otherwise: in Ultra-Fine's 10,331 types (Choi, Levy, Choi & Zettlemoyer 2018, Ultra-fine entity typing, §2) the first
9 are coarse, the next 121 fine and all others ultra-fine; types with paths (/person/artist/actor, as in OntoNotes and FIGER) lie on
levels. Types of any other list are one group without a name.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cutaway.core.errors import CutawayError
from cutaway.core.text_files import text_lines

COARSE = ("person", "group", "organization", "location", "entity", "time", "object", "event", "place")
"""By which Ultra-Fine's list is known: it begins with them."""

LEVEL = re.compile(r"level \d+")

FINE = 121
"""Types behind these are fine, and the rest ultra-fine."""


@dataclass(frozen=True)
class TypeList:
    """Types in order, and the group of each.

    Raises:
        CutawayError: no types, one without a name, one twice, or not as many groups.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    """As long as `names`."""

    def __post_init__(self):
        if not self.names:
            raise CutawayError("there are no types: give at least one")
        if len(self.groups) != len(self.names):
            raise CutawayError(f"{len(self.names)} types and {len(self.groups)} groups: give one for each")
        if not all(name.strip() for name in self.names):
            raise CutawayError("a type has no name: leave it out")
        if len(self.number) != len(self.names):
            twice = next(name for i, name in enumerate(self.names) if self.number[name] != i)
            raise CutawayError(f"the type {twice!r} is there twice: leave one")

    @classmethod
    def of(cls, names: Sequence[str]) -> "TypeList":
        """With the groups that published lists have."""
        return cls(tuple(names), tuple(_groups(names)))

    @cached_property
    def number(self) -> dict[str, int]:
        """The place of each type in the list, from 0."""
        return {name: i for i, name in enumerate(self.names)}

    @property
    def order(self) -> tuple[str, ...]:
        """The groups that have a name, from coarse to fine: as they first occur, levels by their depth."""
        found = [name for name in dict.fromkeys(self.groups) if name]
        return tuple(sorted(found, key=_depth) if all(map(LEVEL.fullmatch, found)) else found)

    @cached_property
    def _paths(self) -> bool:
        return all(name.startswith("/") for name in self.names)

    def group(self, name: str) -> str:
        """Of a type; a path that is not in the list has its level all the same, any other type no group ("")."""
        if name in self.number:
            return self.groups[self.number[name]]
        return _level(name) if self._paths and _level(name) in self.order else ""

    def check(self, names: Iterable[str]) -> None:
        """Raises `CutawayError`, with the nearest right name, for a type that is not in the list."""
        for name in names:
            if name not in self.number:
                near = difflib.get_close_matches(name, self.names, 1)
                told = f"; did you mean {near[0]!r}?" if near else ""
                raise CutawayError(f"the type {name!r} is not among the {len(self):,} of the list{told}")

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self.number


def read_types(path: str | Path) -> TypeList:
    """A list of types from a file.

    Raises:
        CutawayError: no such file, no text, no types, one twice, or groups for some of them only.
    """
    path = Path(path)
    rows: list[tuple[str, ...]] = []
    first: dict[str, int] = {}
    for n, line in enumerate(text_lines(path), 1):
        row = tuple(column.strip() for column in line.rstrip("\t ").split("\t"))
        if row == ("",):
            continue
        if len(row) > 2 or not all(row):
            raise CutawayError(f"{path}, line {n}: write a type, or a type, a tab and its group")
        if rows and len(row) != len(rows[0]):
            raise CutawayError(f"{path}, line {n}: give a group to all types or to none")
        if first.setdefault(row[0], n) != n:
            raise CutawayError(f"{path}, line {n}: the type {row[0]!r} is on line {first[row[0]]} already")
        rows.append(row)
    if not rows:
        raise CutawayError(f"{path} has no types: write one on each line")
    names = [row[0] for row in rows]
    return TypeList.of(names) if len(rows[0]) == 1 else TypeList(tuple(names), tuple(row[1] for row in rows))


def _groups(names: Sequence[str]) -> list[str]:
    if tuple(names[: len(COARSE)]) == COARSE and len(names) > len(COARSE) + FINE:
        rest = len(names) - len(COARSE) - FINE
        return ["coarse"] * len(COARSE) + ["fine"] * FINE + ["ultra-fine"] * rest
    if names and all(name.startswith("/") for name in names):
        return [_level(name) for name in names]
    return ["" for _ in names]


def _depth(group: str) -> int:
    return int(group.removeprefix("level "))


def _level(name: str) -> str:
    return f"level {len([step for step in name.split('/') if step])}"
