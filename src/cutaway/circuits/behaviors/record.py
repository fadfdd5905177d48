"""What a kind of behaviour is: how to build it, with its options and its source, found by discovery."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cutaway.core.errors import CutawayError


@dataclass(frozen=True)
class Recipe:
    """`build(tokenizer, config)` returns a `Behavior`; `config` is the frozen dataclass of its options."""

    name: str
    build: Callable
    config: type
    about: str
    citation: str


@cache
def behavior_recipes() -> dict[str, Recipe]:
    """Every behaviour in `cutaway.circuits.behaviors` by name: modules with a `BEHAVIOR` record, one file each."""
    package = importlib.import_module("cutaway.circuits.behaviors")
    modules = (importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__))
    return {module.BEHAVIOR.name: module.BEHAVIOR for module in modules if hasattr(module, "BEHAVIOR")}


def behavior_recipe(name: str) -> Recipe:
    """A behaviour by name; raises `CutawayError` with the nearest names if there is none such."""
    known = behavior_recipes()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise CutawayError(f"no behaviour {name!r}: known are {', '.join(known)}{hint}")
