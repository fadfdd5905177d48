"""Methods are found, not listed: a package of modules, each with a record; and picking one by name."""

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, TypeVar

from cutaway.core.errors import CutawayError

T = TypeVar("T")


def discover(package: str, record: str) -> dict[str, Any]:
    """Every module's `record` (a name such as `METHOD`) in a package, by the record's own name."""
    home = importlib.import_module(package)
    modules = (importlib.import_module(f"{package}.{module.name}") for module in pkgutil.iter_modules(home.__path__))
    found = (getattr(module, record) for module in modules if hasattr(module, record))
    return {each.name: each for each in found}


def pick(known: Mapping[str, T], name: str, kind: str, *, listed_by: str = "") -> T:
    """One by name.

    Args:
        listed_by: a command that lists them, to be named in their place where they are many.

    Raises:
        CutawayError: there is none such; says which there are, and the nearest.
    """
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    there = f"`{listed_by}` lists all {len(known)}" if listed_by else f"known are {', '.join(known)}"
    raise CutawayError(f"no {kind} {name!r}: {there}{hint}")
