"""One thing done with several seeds: a folder for each, and their mean and standard deviation together.

OUT/seed-0/ OUT/seed-1/ …    runs
OUT/summary.json             of every number: mean, sd, values
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cutaway.core.errors import CutawayError
from cutaway.core.estimates import OverSeeds
from cutaway.core.runs import leads, put

SUMMARY = "summary.json"


def folder_of(out: Path, seed: int, seeds: Sequence[int]) -> Path:
    """Where the run of a seed lies: a single one is the folder itself."""
    return out if len(seeds) == 1 else out / f"seed-{seed}"


def runs_of(folder: Path) -> list[Path]:
    """The run folders of a folder: itself, or those of its seeds."""
    seeds = [x for x in folder.glob("seed-*") if x.name.removeprefix("seed-").isdecimal()]
    return sorted(seeds, key=lambda x: int(x.name.removeprefix("seed-"))) or [folder]


def over_seeds(
    out: Path, seeds: Sequence[int], one: Callable[[int, Path], Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Calls `one(seed, folder)` for every seed; with several, writes their summary.

    Args:
        one: makes the run folder, and returns its scores: numbers, by name and perhaps by part of the data.

    Raises:
        CutawayError: no seeds, or one twice.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise CutawayError(f"--seeds are {' '.join(map(str, seeds)) or 'none'}: give different ones, at least one")
    found = [one(seed, folder_of(out, seed, seeds)) for seed in seeds]
    if len(seeds) > 1 and leads():
        told = {"seeds": list(seeds), **_dicts(summary([flat(each) for each in found]))}
        put(out / SUMMARY, (json.dumps(told, indent=1) + "\n").encode())
    return found


def summary(scores: Sequence[Mapping[str, float]]) -> dict[str, OverSeeds]:
    """Of every number that all runs have."""
    shared = [name for name in scores[0] if all(name in each for each in scores)]
    return {name: OverSeeds.of([each[name] for each in scores]) for name in shared}


def flat(scores: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of nested tables, as `test.span_f1`; of an estimate its mean."""
    found: dict[str, float] = {}
    for name, x in scores.items():
        if isinstance(x, Mapping):
            found |= {before + name: x["mean"]} if "mean" in x else flat(x, f"{before}{name}.")
        elif isinstance(x, int | float) and not isinstance(x, bool):
            found[before + name] = float(x)
    return found


def _dicts(scores: Mapping[str, OverSeeds]) -> dict[str, dict]:
    return {name: x.to_dict() for name, x in scores.items()}
