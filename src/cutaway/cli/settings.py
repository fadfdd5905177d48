"""Flags made from a configuration: one for each field, with its type, its documentation and its default.

A command that takes `Annotated[settings_of(Config), Parameter(name="*")]` gets a dictionary of the flags that were given, and no
others, so that a file of settings and flags can be laid over each other: `chosen` does it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar, get_origin

from cyclopts import Parameter

from cutaway.core.configs import changed, docs, leaves, pairs, read_config

T = TypeVar("T")


def settings_of(kind: type) -> type:
    """A dictionary type with the fields of a configuration, nested ones beside the others, none of them required."""
    made: dict[str, Any] = {}
    for path, hint, default in leaves(kind):
        said = docs(_owner(kind, path)).get(path[-1], "").rstrip(".")
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        about = f"{said} [default: {shown}]".strip()
        many = get_origin(hint) is tuple
        flag = Parameter(help=about, consume_multiple=True, negative="") if many else Parameter(help=about)
        made[path[-1]] = Annotated[hint, flag]
    return TypedDict(f"{kind.__name__}Settings", made, total=False)  # type: ignore[operator]


def chosen(kind: type[T], file: Path | None, flags: Mapping[str, Any], options: Sequence[str] = ()) -> T:
    """The configuration of a file, or the default one, with what flags and `--option part.option=value` change.

    Raises:
        CutawayError: as `read_config`; an option without an equals sign.
    """
    config = kind() if file is None else read_config(kind, file)
    paths = {path[-1]: path for path, _, _ in leaves(kind)}
    for name, value in flags.items():
        given: Any = value
        for part in reversed(paths[name]):
            given = {part: given}
        config = changed(config, given)
    return changed(config, {"options": pairs(options)}) if options else config


def _owner(kind: type, path: tuple[str, ...]) -> type:
    for name in path[:-1]:
        kind = type(getattr(kind(), name))
        assert is_dataclass(kind)
    return kind
