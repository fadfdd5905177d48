"""Runs that are there, read back without the room that made them: found in folders, those of several seeds taken together.

A folder with a `manifest.json` is a run (`runs.py` writes it). Its scores are the numbers of `scores.json`; a run without that file
has those of its other tables that carry an interval. Whatever else cannot be read is told, and the rest is read.
"""

import json
import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

from cutaway.core.errors import CutawayError
from cutaway.core.estimates import Estimate, OverSeeds
from cutaway.core.numbers import Score, flat, is_number, numbers, value
from cutaway.core.seeds import summary

MANIFEST, CONFIG, SCORES, METRICS = "manifest.json", "config.toml", "scores.json", "metrics.jsonl"
SUBJECTS = ("data", "behavior", "model")
"""What a run is about, by the names that manifests and configurations have for it."""
PARTS = ("test.", "dev.")
"""Parts of the data by how much their scores say."""
DEEP = 3
"""Tables within tables, from which on a number is one among many."""


@dataclass(frozen=True)
class FinishedRun:
    """What a run folder says of itself; or the folder of several seeds, with what they come to together."""

    folder: Path
    manifest: dict
    """Facts; of several seeds, those that are not the same for all by `seed 0`, `seed 1` …"""
    config: dict[str, Any]
    """Settings by dotted name, `training.lr`; of several seeds, those that they share."""
    scores: dict[str, Score]
    """By dotted name, `test.spans.f1`; of several seeds the numbers that all of them have."""
    seeds: tuple["FinishedRun", ...] = ()
    """The runs of several seeds; empty for a single run."""
    faults: tuple[str, ...] = ()
    """What could not be read, a line each."""

    @property
    def what(self) -> str:
        """Room and verb: the manifest's `kind`, or the first words of the command."""
        kind, command = self.manifest.get("kind"), self.manifest.get("command")
        words = command.split() if isinstance(command, str) else []
        if isinstance(kind, str) and kind:
            return kind
        if words and words[0] == "cutaway":
            return " ".join(word for word in words[1:3] if not word.startswith("-"))
        return Path(words[0]).name if words else ""

    @property
    def about(self) -> tuple[str, ...]:
        """Data and model; of a path the last part."""
        said = (self.manifest.get(name, self.config.get(name)) for name in SUBJECTS)
        return tuple(x.rstrip("/").rpartition("/")[2] for x in said if isinstance(x, str) and x)

    @property
    def seed(self) -> int | None:
        """None if it has none, or several."""
        seed = self.manifest.get("seed")
        return seed if type(seed) is int else None

    @property
    def made(self) -> datetime | None:
        """When it was finished, in local time; of several seeds the last."""
        try:
            when = datetime.fromisoformat(self.manifest["made"])
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone()
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    @property
    def seconds(self) -> float | None:
        """What it took; several seeds together."""
        spent = self.manifest.get("seconds")
        return float(spent) if is_number(spent) and isfinite(spent) else None

    @property
    def data_hashes(self) -> dict[str, str]:
        """Facts of the manifest that say which data these were, by name."""
        return {name: str(x) for name, x in self.manifest.items() if name.endswith("sha256")}


def read_run(folder: str | Path) -> FinishedRun:
    """A run folder, or a folder of runs that differ in nothing but their seed.

    Raises:
        CutawayError: no such folder; neither of the two; or its manifest cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CutawayError(f"there is no folder {folder}: `cutaway runs list` says which runs there are")
    if (folder / MANIFEST).exists():
        return _read(folder)
    runs, broken = find_runs(folder)
    mine = [run for run in runs if run.folder.parent == folder]
    if both := _together(mine):
        return both
    if runs or broken:
        hint = f"it holds {len(runs) + len(broken)}: name one of those that `cutaway runs list {folder}` says"
    else:
        hint = f"it has no {MANIFEST}; `cutaway runs list` says which runs there are"
    raise CutawayError(f"{folder} is not a run: {hint}")


def find_runs(folder: str | Path, *, every: bool = True) -> tuple[list[FinishedRun], dict[Path, str]]:
    """All runs in a folder and below, the newest first; and folders that are half a run or a broken one, with what is wrong.

    Hidden folders, folders of weights (`model`) and what lies within a run are passed over.

    Args:
        every: read every score. Else, and much faster, those of deeply nested tables are left out where there are others.

    Raises:
        CutawayError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CutawayError(f"there is no folder {folder}: give the one your runs are in, `cutaway runs list FOLDER`")
    runs, broken = [], {}
    for path, wrong in _walk(folder):
        try:
            if wrong:
                raise CutawayError(f"{path}: {wrong}")
            runs.append(_read(path, None if every else DEEP))
        except CutawayError as error:
            broken[path] = str(error).removeprefix(f"{path}: ")
    return newest_first(runs), broken


def newest_first(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Those that do not say when they were made come last; among equals the order of names."""
    named = sorted(runs, key=lambda run: run.folder)
    return sorted(named, key=lambda run: run.made or datetime.min.replace(tzinfo=UTC), reverse=True)


def fold_seeds(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The same runs, but those of a folder that holds nothing but seeds of one are one; the newest first."""
    below = Counter(parent for run in runs for parent in run.folder.parents)
    folded: list[FinishedRun] = []
    for parent, some in groupby(sorted(runs, key=lambda run: run.folder.parent), lambda run: run.folder.parent):
        mine = list(some)
        both = _together(mine) if below[parent] == len(mine) else None
        folded += [both] if both else mine
    return newest_first(folded)


def main_scores(run: FinishedRun, most: int = 3) -> list[str]:
    """The names of the few numbers to look at first: those that the manifest gives as `main_scores`, whole tables among them.

    If it gives none: those of the test set if there is one, out of `sure_scores`, the least nested first; where F1 stands beside
    precision and recall, it speaks for them.
    """
    told = run.manifest.get("main_scores")
    wanted = tuple(f"{name}." for name in told) if isinstance(told, list) else ()
    if names := [name for name in run.scores if f"{name}.".startswith(wanted)]:
        return names[:most]
    names = [name for name in sure_scores(run) if not _spoken_for(name, run.scores)]
    part = next((part for part in PARTS if any(name.startswith(part) for name in names)), "")
    names = [name for name in names if name.startswith(part)]
    chosen = sorted(names, key=lambda name: name.count("."))[:most]
    return [name for name in names if name in chosen]


def sure_scores(run: FinishedRun) -> list[str]:
    """The names of scores with an interval, or without such of all; those of deeply nested tables only if there are no others.

    Of several seeds: what each seed has an interval of.
    """
    known = (run.seeds[0] if run.seeds else run).scores
    names = [name for name, x in known.items() if name in run.scores and isinstance(x, Estimate | OverSeeds)]
    names = names or list(run.scores)
    return [name for name in names if name.count(".") < DEEP] or names


def _spoken_for(name: str, scores: Mapping[str, Score]) -> bool:
    table, dot, last = name.rpartition(".")
    return last in ("precision", "recall") and f"{table}{dot}f1" in scores


def curves(run: FinishedRun) -> tuple[dict[str, list[float]], int]:
    """Every number of `metrics.jsonl` in its order, by name, and how many lines could not be read.

    What is there for every step and for every epoch is taken by step.
    """
    file, found, unread = run.folder / METRICS, {}, 0
    for line in _text(file).splitlines() if file.is_file() else ():
        try:
            row = dict(json.loads(line))
        except (ValueError, TypeError, RecursionError):
            unread += 1
            continue
        for name, x in row.items():
            if is_number(x) and name not in ("step", "epoch"):
                found.setdefault((name, "epoch" in row), []).append(float(x))
    by_length = sorted(found.items(), key=lambda item: len(item[1]))
    return {name: values for (name, _), values in by_length}, unread


def files(folder: Path) -> list[tuple[str, int, int]]:
    """What lies in a folder: name, bytes, and how many files, which is 0 for a file itself; what is hidden is passed over."""
    found = []
    for path in sorted(folder.iterdir()):
        inner = [x for x in path.rglob("*") if x.is_file()] if path.is_dir() else []
        if path.name[0] != ".":
            sizes = [x.stat().st_size for x in inner] if path.is_dir() else [path.lstat().st_size]
            found.append((path.name + "/" * path.is_dir(), sum(sizes), len(inner)))
    return found


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """Folders that are, or seem, runs; with what is plainly wrong, if anything. Each is visited once, however it is linked."""
    waiting, seen = [folder], set()
    while waiting:
        at = waiting.pop()
        try:
            status = at.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(at) as entries:
                here = {entry.name: _is_folder(entry) for entry in entries}
        except OSError as error:
            yield at, f"cannot be read ({error.strerror})"
            continue
        if MANIFEST in here:
            yield at, ""
        elif CONFIG in here or SCORES in here:
            yield at, f"half a run: it has no {MANIFEST}"
        else:
            waiting += [at / name for name, inner in here.items() if inner and name != "model" and name[0] != "."]


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or to where we may not look
        return False


def _read(folder: Path, deepest: int | None = None) -> FinishedRun:
    faults: list[str] = []
    try:
        manifest = _parsed(folder / MANIFEST, _text(folder / MANIFEST))
    except ValueError as error:
        raise CutawayError(f"{folder}: {error}") from error
    if not isinstance(manifest, dict) or not manifest.keys() & {"command", "versions"}:
        raise CutawayError(f"{folder}: its {MANIFEST} is not that of a run: it names no command and no versions")
    config: dict[str, Any] = {}
    try:
        config = flat(tomllib.loads(_text(folder / CONFIG)))
    except ValueError as error:
        faults.append(str(error) if CONFIG in str(error) else f"{CONFIG} is not TOML ({error})")
    except RecursionError:
        faults.append(f"{CONFIG} is nested too deeply")
    scores = _scores(folder, faults, None if "main_scores" in manifest else deepest)
    return FinishedRun(folder, manifest, config, scores, faults=tuple(faults))


def _scores(folder: Path, faults: list[str], deepest: int | None) -> dict[str, Score]:
    """Of scores.json; without it, of the other tables those with an interval, under the file's name."""
    main = (folder / SCORES).exists()
    found: dict[str, Score] = {}
    for file in [folder / SCORES] if main else sorted(folder.glob("*.json")):
        try:
            text = "" if file.name == MANIFEST else _text(file)
            if main or '"low"' in text:
                tree, before = _parsed(file, text), () if main else (file.stem,)
                found |= numbers(tree, before, sure=not main, deepest=deepest) or numbers(tree, before, sure=not main)
        except ValueError as error:
            faults.append(str(error))
        except RecursionError:
            faults.append(f"{file.name} is nested too deeply")
    return found


def _text(file: Path) -> str:
    """Raises `ValueError`, in words for people, for whatever is wrong with the file."""
    try:
        if not file.is_file():  # a pipe would never end
            raise ValueError(f"{file.name} is {'not a file' if file.exists() else 'not there'}")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is not UTF-8 text") from error
    except OSError as error:
        raise ValueError(f"{file.name} cannot be read ({error.strerror})") from error


def _parsed(file: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{file.name} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{file.name} is not JSON ({error})") from error


def is_seed(name: str) -> bool:
    return name.rpartition(".")[2] == "seed"


def _together(runs: Sequence[FinishedRun]) -> FinishedRun | None:
    """Runs of one folder as one, if they are the same but for their seed."""
    if len(runs) < 2 or len({run.seed for run in runs} - {None}) < len(runs):
        return None
    first, *others = ordered = sorted(runs, key=lambda run: run.seed or 0)
    if any(_but_seed(run) != _but_seed(first) for run in others):
        return None
    manifest = {
        **{name: _over_seeds(name, ordered) for name in first.manifest},
        **{name: first.manifest[name] for name in ("command", "kind", "main_scores") if name in first.manifest},
        "seed": [run.seed for run in ordered],
        "seconds": sum(run.seconds or 0.0 for run in runs),
        "made": newest_first(runs)[0].manifest.get("made"),
    }
    scores = summary([{name: value(x) for name, x in run.scores.items()} for run in ordered])
    faults = tuple(f"{run.folder.name}: {fault}" for run in ordered for fault in run.faults)
    return FinishedRun(first.folder.parent, manifest, _but_seed(first)[1], dict(scores), tuple(ordered), faults)


def _over_seeds(name: str, runs: Sequence[FinishedRun]) -> Any:
    """A fact of all, or each one's."""
    facts = {f"seed {run.seed}": run.manifest.get(name) for run in runs}
    first, *others = facts.values()
    return first if all(x == first for x in others) else facts


def _but_seed(run: FinishedRun) -> tuple[str, dict, dict]:
    settings = {name: x for name, x in run.config.items() if not is_seed(name)}
    return run.what, settings, run.data_hashes
