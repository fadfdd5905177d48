"""What a search method is: a function with its options and its source, found by discovery."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cutaway.core.errors import CutawayError


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
    package = importlib.import_module("cutaway.circuits.search")
    modules = (importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__))
    return {module.METHOD.name: module.METHOD for module in modules if hasattr(module, "METHOD")}


def method(name: str) -> Method:
    """A search method by name; raises `CutawayError` with the nearest one."""
    known = methods()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise CutawayError(f"no search method {name!r}: known are {', '.join(known)}{hint}")
