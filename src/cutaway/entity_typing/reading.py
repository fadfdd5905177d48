"""Files of mentions: all of one, as plain text, or a share of one too large to read, with types that nobody has checked.

What is wrong is told with file and line.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from cutaway.core.errors import CutawayError
from cutaway.core.text_files import text_lines
from cutaway.entity_typing.data import Mention
from cutaway.entity_typing.layouts import layout
from cutaway.entity_typing.type_list import TypeList

P = ParamSpec("P")
T = TypeVar("T")


def read_mentions(path: str | Path, types: TypeList | None = None, *, repeats: bool = False) -> list[Mention]:
    """The mentions of a file in any of the layouts (`layouts.py`); the first line that is not empty says which.

    Args:
        types: a type that is not among these is an error; None: any will do.
        repeats: ids may occur more than once. They are what predictions are matched by, so that only files to train on may do this.

    Raises:
        CutawayError: no such file, no text, a line that is no such mention, types that are not in the list, an id twice, or no
            mentions at all.
    """
    path, first = Path(path), dict[str, int]()
    made: list[Mention] = []
    for n, some in _mentions(path, numbered(path)):
        for mention in some:
            if types is not None:
                at(path, n, types.check, mention.types or ())
            if mention.id and not repeats and first.setdefault(mention.id, n) != n:
                raise CutawayError(
                    f"{path}, line {n}: the id {mention.id!r} is that of line {first[mention.id]} already"
                )
        made += some
    if not made:
        raise CutawayError(f"{path} has no mentions: give a file with at least one")
    return made


def read_plain(path: str | Path) -> list[Mention]:
    """The mentions of a file without their types. Raises as `read_mentions`."""
    return [replace(mention, types=None) for mention in read_mentions(path, repeats=True)]


@dataclass(frozen=True)
class Distant:
    """Mentions with types from elsewhere: the head word of the mention, or what it is linked to."""

    mentions: tuple[Mention, ...]
    lines: int
    """Of the file."""
    drawn: int
    """Mentions on the lines that were drawn."""
    dropped: int
    """Types of these that are not in the list."""


def read_distant(
    path: str | Path, types: TypeList, *, weight: float = 1.0, most: int | None = None, seed: int = 0
) -> Distant:
    """Distant supervision, in any of the layouts. Types that are not in the list are left out, and mentions that have no other.

    Args:
        weight: of each mention in training.
        most: lines to take; of more they are drawn at random, each as likely, in one pass that keeps no others in memory.

    Raises:
        CutawayError: as `read_mentions`, but for types; `most` is less than 1; or no mention has a type of the list.
    """
    path = Path(path)
    if most is not None and most < 1:
        raise CutawayError(f"{most} lines of {path}: take at least 1, or leave the file out")
    lines, chosen = _drawn(path, most, seed)
    found = [(n, mention) for n, some in _mentions(path, chosen) for mention in some]
    made, dropped = [], 0
    for n, mention in found:
        mine = tuple(name for name in mention.types or () if name in types)
        dropped += len(mention.types or ()) - len(mine)
        if mine:
            made.append(at(path, n, replace, mention, types=mine, weight=weight))
    if not made:
        raise CutawayError(f"{path} has no mention with a type of the list: is it the list of these data?")
    return Distant(tuple(made), lines, len(found), dropped)


def numbered(path: Path) -> list[tuple[int, str]]:
    """The lines that are not empty, and their numbers."""
    return [(n, line) for n, line in enumerate(text_lines(path), 1) if line.strip()]


def at(path: Path, n: int, do: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What a function gives; its errors with a place."""
    try:
        return do(*given, **named)
    except CutawayError as error:
        raise CutawayError(f"{path}, line {n}: {error}") from error


def _mentions(path: Path, lines: Sequence[tuple[int, str]]) -> list[tuple[int, list[Mention]]]:
    if not lines:
        return []
    read = layout(lines[0][1])
    return [(n, at(path, n, read, line)) for n, line in lines]


def _drawn(path: Path, most: int | None, seed: int) -> tuple[int, list[tuple[int, str]]]:
    """How many lines a file has that are not empty, and `most` of them in their order (reservoir sampling, Vitter 1985)."""
    if most is None:
        lines = numbered(path)
        return len(lines), lines
    draw, kept, there = random.Random(seed), [], 0
    try:
        with path.open("rb") as stream:
            for n, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                place = there if there < most else draw.randrange(there + 1)
                there += 1
                if place < most:
                    kept[place : place + 1] = [(n, line)]
    except OSError as error:
        raise CutawayError(f"{path} cannot be read ({error.strerror})") from error
    return there, [(n, at(path, n, _text, line)) for n, line in sorted(kept)]


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise CutawayError(f"not UTF-8 (byte {error.start}): give text, converted to UTF-8") from error
