"""`cutaway runs`: the runs that are there, of any room: find them, look at one, set some side by side."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from cyclopts import App

import cutaway.cli
from cutaway.cli.terminal import new_console
from cutaway.core.errors import CutawayError

runs = App(name="runs", help="The runs that are there, of any room: find them, look at one, set some side by side.")

MOST = 8
"""Runs in one comparison."""


@runs.command(name="list")
def list_runs(folder: Path = Path("runs"), *, seeds: bool = False, json: bool = False) -> None:
    """All runs in a folder and below, the newest first, with their main scores; a folder of several seeds is one row.

    Parameters
    ----------
    folder
        Where to look.
    seeds
        Every seed in a row of its own.
    json
        As JSON.
    """
    from cutaway.cli import runs_tables as tables
    from cutaway.core.reading_runs import find_runs, fold_seeds

    found, broken = find_runs(folder, every=False)
    rows = found if seeds else fold_seeds(found)
    if not rows and not broken:
        raise CutawayError(
            f"no runs in {folder}: name the folder they are in, or make one, as with `cutaway circuits find`"
        )
    if json:
        wrong = [{"run": str(path), "why": why} for path, why in broken.items()]
        return print(tables.as_json({"runs": [tables.row(run) for run in rows], "broken": wrong}))
    console = new_console()
    tables.listing(rows, console)
    if any(run.seeds for run in rows):
        console.print(tables.aside("several seeds: mean ± standard deviation; --seeds lists each"))
    for run in rows:
        tables.complain(console, run.folder, run.faults)
    for path, why in broken.items():
        tables.complain(console, path, [why])


@runs.command
def show(run: Path, *, all: bool = False, json: bool = False) -> None:
    """One run: its settings, what it was made with, its scores, how it learned, its files.

    Parameters
    ----------
    run
        A run folder, or a folder of several seeds.
    all
        Every score, those of nested tables as well.
    json
        As JSON, with every score.
    """
    from cutaway.cli import runs_tables as tables
    from cutaway.core.reading_runs import curves, files, read_run

    found = read_run(run)
    learned, unread = curves(found)
    if json:
        told = {**tables.whole(found), "curves": learned, "files": [{"name": a, "bytes": b} for a, b, _ in files(run)]}
        return print(tables.as_json(told))
    console = new_console()
    for part in tables.page(found, defaults=defaults_of(found.config), every=all):
        console.print(part)
    if learned:
        console.print(tables.learned(learned, console.width))
    console.print(tables.contents(files(run)))
    tables.complain(
        console, run, [*found.faults, *([f"{unread} lines of metrics.jsonl cannot be read"] if unread else [])]
    )


@runs.command
def compare(*runs: Path, all: bool = False, json: bool = False) -> None:
    """Runs side by side: settings and facts that differ, scores, and how far each is from the first.

    Parameters
    ----------
    runs
        Run folders, or folders of several seeds.
    all
        Every score, those of nested tables as well.
    json
        As JSON, with every score.
    """
    from cutaway.cli import runs_tables as tables
    from cutaway.core.comparing_runs import compare_runs
    from cutaway.core.reading_runs import read_run

    if len(runs) > MOST:
        raise CutawayError(f"{len(runs)} runs are too many to read side by side: name at most {MOST}")
    found = compare_runs([read_run(run) for run in runs])
    if json:
        return print(tables.as_json(tables.beside(found)))
    console = new_console()
    for part in tables.comparison(found, console, every=all):
        console.print(part)
    for run in found.runs:
        tables.complain(console, run.folder, run.faults)


def defaults_of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The defaults of the room whose settings these are: the one whose `config.py` knows most of their names, at least half."""
    known = [_defaults(module.name) for module in pkgutil.iter_modules(cutaway.cli.__path__)]
    best = max(known, key=lambda defaults: len(defaults.keys() & config.keys()), default={})
    return best if len(best.keys() & config.keys()) * 2 >= len(config) > 0 else None


def _defaults(room: str) -> dict[str, Any]:
    """By dotted name; none of what is no room. `Config` is the whole; another dataclass of that file is a table by its name."""
    from cutaway.core.configs import table
    from cutaway.core.numbers import flat

    try:
        module = importlib.import_module(f"cutaway.{room}.config")
    except ModuleNotFoundError:
        return {}
    found = {}
    for kind in vars(module).values():
        if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__ and _complete(kind):
            found |= flat(table(kind()) if kind.__name__ == "Config" else {kind.__name__.lower(): table(kind())})
    return {name: list(x) if isinstance(x, tuple) else x for name, x in found.items()}  # as TOML has it


def _complete(kind: Any) -> bool:
    """Has every field a default?"""
    return all(f.default is not MISSING or f.default_factory is not MISSING for f in fields(kind))
