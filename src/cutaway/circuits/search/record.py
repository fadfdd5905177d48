"""What a search method is: a function with its options and its source, found by discovery."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cutaway.core.discovery import discover, pick


@dataclass(frozen=True)
class Method:
    """`search(isolation, ranking, options, tick)` returns a set of heads; `options` is its frozen dataclass."""

    name: str
    search: Callable
    options: type
    about: str
    citation: str


@cache
def methods() -> dict[str, Method]:
    """Every method in `cutaway.circuits.search`, one file each."""
    return discover("cutaway.circuits.search", "METHOD")


def method(name: str) -> Method:
    """A search method by name; raises `CutawayError` with the nearest one."""
    return pick(methods(), name, "search method")
