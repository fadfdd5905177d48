"""What the commands of every trainable room have in common: runs over seeds, tables of scores, answers, settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from cutaway.cli.terminal import free, listing, new_console


def fitted(
    room: str,
    data: str,
    config: Any,
    one: Callable[[Any, Path], Mapping],
    show: ModuleType,
    *,
    out: Path | None,
    seeds: Sequence[int],
    resume: bool,
) -> None:
    """Fits with every seed, and tells the scores on dev and test, and where the runs lie.

    Args:
        data: the name of the data.
        one: given a configuration with its seed, and a folder, makes the run and returns its scores by part of the data.
        show: the room's show.py.
        out: default runs/ROOM-DATA, with a number behind if that is taken and nothing is to be resumed.

    Raises:
        CutawayError: as `one` and `core.seeds.over_seeds`.
    """  # fmt: skip
    from dataclasses import replace

    from cutaway.core.runs import leads
    from cutaway.core.seeds import over_seeds, runs_of

    place = Path("runs") / f"{room}-{data}"
    folder = out or (place if resume else free(place))

    def seeded(seed: int, at: Path) -> Mapping:
        return one(replace(config, training=replace(config.training, seed=seed)), at)

    found = over_seeds(folder, seeds or (config.training.seed,), seeded)
    if leads():
        for part in ("dev", "test"):
            if some := [each[part] for each in found if part in each]:
                tell({f"{data} {part}": some}, data if part == "test" else "", show)
        print(f"Written to {folder}. Try: cutaway {room} predict {runs_of(folder)[0]} TEXT")


def tell(runs: Mapping[str, Sequence[dict]], data: str, show: ModuleType) -> Any:
    """The table of scores, published ones for `data` below, and the remarks on the first; returns the console."""
    console = new_console()
    console.print(listing(*show.comparison(runs, data)))
    for line in show.remarks(next(iter(runs.values()))[0]):
        console.print(line, highlight=False, markup=False, style="dim")
    return console


def answer(predictions: Iterable[Any], *, json: bool) -> None:
    """Prints each as it comes: as text, or as one JSON object a line."""
    import json as writing

    for each in predictions:
        print(writing.dumps(each.to_dict(), ensure_ascii=False) if json else f"{each}\n", flush=True)


def keep(out: Path | None, told: Mapping[str, Any]) -> None:
    """All numbers as a JSON file, if one is wanted."""
    import json

    from cutaway.core.runs import put

    if out:
        put(out, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())


def settings(config: Any) -> None:
    """Prints a configuration as TOML."""
    from cutaway.core.configs import table
    from cutaway.core.runs import toml

    print(toml(table(config)), end="")
