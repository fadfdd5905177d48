"""What the contract of a room (`test_room_contract.py`) needs to know of each room.

A room registers itself with a file `tests/ROOM/room.py` that has a record `ROOM`; nothing else is to be changed.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
SOURCES = HERE.parent / "src" / "cutaway"


@dataclass(frozen=True)
class Room:
    """A trainable room, with something small to learn."""

    name: str
    """Of the package and of the command."""
    write: Callable[[Path], Path]
    """Writes made-up data into a folder; returns what `--data` is given."""
    read: Callable[[Path], Any]
    """The same data as `fit` takes them."""
    config: Callable[[Path], Any]
    """A configuration that learns them in a few seconds, in at least 12 steps; weights it begins from are made in the folder."""
    held_out: Callable[[Any], Sequence[Any]]
    """Of the data, what `evaluate` is given."""
    inputs: tuple[str, ...]
    """Texts (or paths) for `predict`."""

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(f"cutaway.{self.name}.{name}")


def rooms() -> list[Room]:
    """All that are registered."""
    files = sorted(HERE.glob("*/room.py"))
    return [importlib.import_module(f"{file.parent.name}.room").ROOM for file in files]


def trainable() -> list[str]:
    """All that there are: packages with a config.py and a fit.py."""
    return sorted(x.parent.name for x in SOURCES.glob("*/fit.py") if (x.parent / "config.py").is_file())
