"""A configuration is a frozen dataclass. Here it is read from TOML and from words, written as TOML, and checked field by field.

A field that is itself such a dataclass is a table. A field that is a mapping holds options of parts, `part.option = value`.
Whatever is wrong is told in one line, with the nearest right name.
"""

import ast
import difflib
import inspect
import textwrap
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from cutaway.core.errors import CutawayError

T = TypeVar("T")


def read_config(kind: type[T], path: str | Path) -> T:
    """A configuration from a TOML file; what it does not say keeps its default.

    Raises:
        CutawayError: no such file, not TOML, a name that `kind` does not have, or a value of another type.
    """
    path = Path(path)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError) as error:
        near = difflib.get_close_matches(path.name, [x.name for x in path.parent.glob("*.toml")], 1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise CutawayError(f"there is no configuration file {path}{hint}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CutawayError(f"{path} is not TOML: {error}") from error
    return configured(kind, given, f"{path}: ")


def configured(kind: type[T], given: Mapping[str, Any], where: str = "") -> T:
    """A configuration from names and values, nested ones as tables. Raises `CutawayError` as `read_config` does."""
    return changed(kind(), given, where)


def changed(config: T, given: Mapping[str, Any], where: str = "") -> T:
    """The same configuration with some fields changed. Raises `CutawayError` as `read_config` does."""
    hints, news = get_type_hints(type(config)), {}
    for name, value in given.items():
        if name not in hints:
            raise CutawayError(f"{where}{_no_such(name, hints)}")
        now = getattr(config, name)
        if is_dataclass(now):
            if not isinstance(value, Mapping):
                raise CutawayError(f"{where}{name} is {value!r}: it must be a table")
            news[name] = changed(now, value, f"{where}{name}.")
        elif isinstance(now, Mapping):
            if not isinstance(value, Mapping):
                raise CutawayError(f"{where}{name} is {value!r}: it must be a table")
            news[name] = {**now, **_flat(value)}
        else:
            news[name] = _value(value, hints[name], f"{where}{name}")
    return replace(config, **news)  # type: ignore[type-var]


def table(config: Any) -> dict[str, Any]:
    """The configuration as plain data, ready for `runs.toml`; reading it gives the same configuration."""
    plain = {f.name: getattr(config, f.name) for f in fields(config)}
    return {
        name: table(x) if is_dataclass(x) else dict(x) if isinstance(x, Mapping) else x for name, x in plain.items()
    }


def options_of(kind: type[T], part: str, given: Mapping[str, Any]) -> T:
    """The options of one part out of all that are given as `part.option`; words are read as what they must be.

    Raises:
        CutawayError: the part has no such option, or a value of another type.
    """
    mine = {name.partition(".")[2]: x for name, x in given.items() if name.partition(".")[0] == part}
    hints = get_type_hints(kind)
    if (wrong := next((name for name in mine if name not in hints), None)) is not None:
        raise CutawayError(f"options of {part}: {_no_such(wrong, hints)}")
    return kind(**{name: _value(x, hints[name], f"{part}.{name}") for name, x in mine.items()})


def pairs(words: Sequence[str]) -> dict[str, str]:
    """`name=value` words as a mapping; raises `CutawayError` for a word without an equals sign."""
    for word in words:
        if "=" not in word:
            raise CutawayError(f"--option {word!r}: write part.option=value")
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def leaves(kind: type) -> list[tuple[tuple[str, ...], Any, Any]]:
    """Every field that holds a value, nested ones too: its path, its type, its default."""
    found, hints = [], get_type_hints(kind)
    for f in fields(kind):
        default = _default(f)
        if is_dataclass(default):
            found += [((f.name, *path), hint, getattr(default, path[0])) for path, hint, _ in leaves(type(default))]
        elif not isinstance(default, Mapping):
            found.append(((f.name,), hints[f.name], default))
    return found


@cache
def docs(kind: type) -> dict[str, str]:
    """What is written below each field of a dataclass."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    found = {}
    for a, b in pairwise(getattr(definition, "body", ())):
        match a, b:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def _default(f: Field) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def _flat(given: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`{"crf": {"scheme": "BIOES"}}` and `{"crf.scheme": "BIOES"}` are the same."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value}
    return flat


def _no_such(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no {name!r}; {hint}Known: {', '.join(known) or 'none'}"


def _value(value: Any, hint: Any, name: str) -> Any:
    """A value as its type wants it; words are read, so that `8` may be a number."""
    kinds = get_args(hint) if get_origin(hint) is types.UnionType else (hint,)
    for kind in sorted(kinds, key=lambda kind: kind is not type(None)):
        try:
            return _as(value, kind)
        except (TypeError, ValueError):
            continue
    raise CutawayError(f"{name} is {value!r}: it must be {' or '.join(map(_named, kinds))}")


def _as(value: Any, kind: Any) -> Any:
    word = isinstance(value, str)
    if get_origin(kind) is Literal:
        return get_args(kind)[[str(x) for x in get_args(kind)].index(str(value))]
    if get_origin(kind) is tuple:
        parts = value.replace(",", " ").split() if word else value
        if not isinstance(parts, list | tuple):
            raise TypeError
        return tuple(_as(part, get_args(kind)[0]) for part in parts)
    if kind is bool and word and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind is type(None) and word and value.lower() == "none":
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float) and word:
        return kind(value)
    if kind is Path and word:
        return Path(value)
    if type(value) is not kind:
        raise TypeError
    return value


def _named(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return f"a list, each {_named(get_args(kind)[0])}"
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        type(None): "none",
        Path: "a path",
    }
    return names.get(kind, getattr(kind, "__name__", str(kind)))
