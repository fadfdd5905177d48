"""Finished runs as tables for the terminal, and as JSON. Names come from anybody's files: they are shown, never obeyed."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cutaway.core.comparing_runs import Comparison
from cutaway.core.estimates import Estimate
from cutaway.core.reading_runs import FinishedRun, Score, detail, main_scores

WIDE = 110
"""From this many columns on, each fact of a list has a column of its own."""
BARS = "▁▂▃▄▅▆▇█"
NOT_FACTS = ("command", "made", "seconds", "seed", "kind", "main_scores")
"""What a page of a run says elsewhere."""


def listing(runs: Sequence[FinishedRun], width: int) -> Table:
    """A row for each run, with the scores to look at first."""
    names = {run.folder: main_scores(run) for run in runs}
    pad = max((len(name) for some in names.values() for name in some), default=0)
    rows = []
    for run in runs:
        folder, facts = text(run.folder, "bold"), (run.what, ", ".join(run.about), *_when(run))
        scores = lines(text(f"{name:<{pad}}  {number(run.scores[name])}") for name in names[run.folder])
        if width >= WIDE:
            rows.append((folder, *facts, scores))
        else:
            what, on, seed, made, took = facts
            said = (", ".join(filter(None, (what, on))), ", ".join(filter(None, (seed, made, took))))
            rows.append((lines((folder, *(text(x, "dim") for x in said if x))), scores))
    return table(("run", "what", "on", "seed", "when", "took", "scores") if width >= WIDE else ("run", "scores"), rows)


def page(run: FinishedRun, *, defaults: Mapping[str, Any] | None, every: bool) -> Iterator[RenderableType]:
    """What a run says of itself; settings beside the defaults of its room, if these are known."""
    yield text(run.folder, "bold")
    yield text(", ".join(filter(None, (run.what, *run.about, *_when(run)))))
    if command := run.manifest.get("command"):
        yield text(command, "dim")
    yield _settings(run.config, defaults)
    facts = {name: x for name, x in run.manifest.items() if name not in NOT_FACTS}
    yield section("made with", table((), [(text(name), text(short(x))) for name, x in facts.items()]))
    shown = [name for name in run.scores if every or not detail(name)]
    if shown:
        yield section("scores", _scores(run, shown))
    if more := len(run.scores) - len(shown):
        yield Padding(aside(f"and {more} in nested tables: --all"), (0, 0, 0, 2))


def learned(curves: Mapping[str, Sequence[float]], width: int) -> RenderableType:
    """Each number of the training as a line of bars, with where it began, ended, and how far it went."""
    rows = []
    for name, values in curves.items():
        bars, logarithmic = spark(values, min(40, max(10, width - 60)))
        ends = [number(x) for x in (values[0], values[-1], min(values), max(values))]
        rows.append((text(name), Text(bars), *map(Text, ends), aside("log" if logarithmic else "")))
    return section("training", table(("", "", "first", "last", "least", "most", ""), rows, right=(2, 3, 4, 5)))


def contents(files: Sequence[tuple[str, int, int]]) -> RenderableType:
    """Files with their sizes; of a folder how many it holds."""
    rows = [(text(name), size(n), f"{inner} files" if name.endswith("/") else "") for name, n, inner in files]
    return section("files", table((), rows, right=(1,)))


def comparison(found: Comparison, console: Console, *, every: bool) -> Iterator[RenderableType]:
    """Runs by letters, and below each table a column for each letter."""
    letters = ascii_uppercase[: len(found.runs)]
    legend = [
        (
            Text(letter, "bold"),
            text(run.folder, "bold"),
            text(", ".join(filter(None, (run.what, *run.about, *_when(run))))),
        )
        for letter, run in zip(letters, found.runs, strict=True)
    ]
    yield table((), legend) if console.width >= WIDE else table((), [(a, lines((b, c))) for a, b, c in legend])
    for line in found.warnings:
        yield Text(line, "bold red")
    for title, differing in (("settings that differ", found.settings), ("facts that differ", found.facts)):
        if differing:
            rows = [(text(name), *(text(short(x)) for x in some)) for name, some in differing.items()]
            yield section(title, table(("", *letters), rows))
    if not found.settings:
        yield section("settings", aside("the same"))
    shown = [name for name in found.scores if every or not detail(name)]
    yield section("scores", _scores_beside(found, shown, letters, console) if shown else aside("they share none"))
    if more := len(found.scores) - len(shown):
        yield Padding(aside(f"and {more} in nested tables: --all"), (0, 0, 0, 2))
    for note in found.notes:
        yield aside(note)


def complain(console: Console, path: Path, wrong: Iterable[str]) -> None:
    """One line for each thing that is wrong with a run."""
    for line in wrong:
        console.print(text(f"{path}: {line}", "yellow"), soft_wrap=True)


def row(run: FinishedRun) -> dict[str, Any]:
    """A run in a list, as data."""
    made = run.made
    return {
        "run": str(run.folder),
        "what": run.what,
        "about": run.about,
        "seeds": [each.seed for each in run.seeds] or [run.seed],
        "made": made and made.isoformat(),
        "seconds": run.seconds,
        "scores": {name: run.scores[name] for name in main_scores(run)},
        "faults": run.faults,
    }


def whole(run: FinishedRun) -> dict[str, Any]:
    """A run with all that it says of itself, as data."""
    return {**row(run), "config": run.config, "manifest": run.manifest, "scores": run.scores}


def beside(found: Comparison) -> dict[str, Any]:
    """A comparison as data; every list has a place for each run."""
    tables = ("settings", "facts", "scores", "differences", "warnings", "notes")
    return {"runs": [row(run) for run in found.runs], **{name: getattr(found, name) for name in tables}}


def as_json(told: Any) -> str:
    """JSON that any reader takes: no NaN, and bytes of a file's name that are no text as escapes."""
    written = json.dumps(_plain(told), indent=1, ensure_ascii=False, allow_nan=False)
    return written.encode("utf-8", "backslashreplace").decode()


def _plain(x: Any) -> Any:
    if isinstance(x, Mapping):
        return {str(name): _plain(each) for name, each in x.items()}
    if isinstance(x, list | tuple):
        return [_plain(each) for each in x]
    if isinstance(x, float) and not math.isfinite(x):
        return None
    if hasattr(x, "to_dict"):
        return _plain(x.to_dict())
    return x if isinstance(x, str | int | float | bool | None) else str(x)


def _settings(config: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> RenderableType:
    """Those that are not as by default, each with its default; then the others, briefly."""
    if not config:
        return section("settings", aside("none that can be read"))
    known = defaults or {}
    as_usual = [name for name, x in config.items() if name in known and known[name] == x]
    rows = []
    for name in (name for name in config if name not in as_usual):
        usual = f"default {short(known[name])}" if name in known else ""
        rows.append((text(name), text(short(config[name]), "bold" if usual else ""), text(usual, "dim")))
    told = [table((), rows)] if rows else []
    if as_usual:
        told.append(text("as by default: " + ", ".join(f"{name} {short(config[name])}" for name in as_usual), "dim"))
    return section("settings", Group(*told))


def _scores(run: FinishedRun, names: Sequence[str]) -> Table:
    """With intervals; of several seeds each one's."""
    if run.seeds:
        header = ("", "mean ± sd", *(f"seed {each.seed}" for each in run.seeds))
        values = ((run.scores[name], [each.scores[name] for each in run.seeds]) for name in names)
        rows = [(text(n), number(all), *map(number, some)) for n, (all, some) in zip(names, values, strict=True)]
        return table(header, rows)
    rows = []
    for name in names:
        x = run.scores[name]
        if isinstance(x, Estimate):
            rows.append((text(name), number(x.mean), f"{x.low:.3f} to {x.high:.3f}", x.n or ""))
        else:
            rows.append((text(name), number(x), "", ""))
    return table(("", "score", "95 % interval", "n"), rows, right=(1, 3))


def _scores_beside(found: Comparison, names: Sequence[str], letters: str, console: Console) -> Table:
    """A line for each score if that fits, else one below the other."""
    first, header, rows, tall = letters[0], [""], [], []
    for letter in letters:
        header += [letter] if letter == first else [letter, f"{letter} − {first}"]
    for name in names:
        pairs = list(zip(found.scores[name], found.differences[name], strict=True))
        cells = [("" if x is None else number(x), "" if d is None else str(d)) for x, d in pairs]
        rows.append((text(name), cells[0][0], *(word for pair in cells[1:] for word in pair)))
        tall.append((text(name), *(lines((Text(x.replace(" [", "\n[")), aside(d))) for x, d in cells)))
    beside = table(header, rows)
    if console.measure(beside, options=console.options.update(width=10_000)).maximum + 2 <= console.width:
        return beside
    return table(("", first, *(f"{letter}, {letter} − {first}" for letter in letters[1:])), tall, leading=1)


def _when(run: FinishedRun) -> tuple[str, str, str]:
    """Seed or seeds, when it was made, how long it took."""
    seed = f"{len(run.seeds)} seeds" if run.seeds else "" if run.seed is None else f"seed {run.seed}"
    return seed, f"{run.made:%Y-%m-%d %H:%M}" if run.made else "", "" if run.seconds is None else duration(run.seconds)


def duration(seconds: float) -> str:
    """In the unit in which a person would say it."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes, in the unit in which a person would say it."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def number(x: Score) -> str:
    """A score with what is known of its uncertainty."""
    if isinstance(x, float):
        return f"{x:.3f}" if 1e-3 <= abs(x) < 1e4 else f"{x:.3g}"
    return str(x)


def spark(values: Sequence[float], width: int) -> tuple[str, bool]:
    """Bars, each the mean of as many values; on a logarithmic scale, and so said, where the largest is 100 times the least."""
    finite = [x for x in values if math.isfinite(x)]
    n = min(width, len(finite))
    cuts = [round(i * len(finite) / n) for i in range(n + 1)] if n else []
    means = [sum(finite[a:b]) / (b - a) for a, b in pairwise(cuts)]
    if not means:
        return "", False
    logarithmic = min(means) > 0 and max(means) >= 100 * min(means)
    heights = [math.log(x) for x in means] if logarithmic else means
    low, span = min(heights), max(heights) - min(heights)
    return "".join(BARS[min(7, int(8 * (x - low) / span))] if span > 0 else BARS[3] for x in heights), logarithmic


def short(x: Any) -> str:
    """A setting or a fact in a few words."""
    if x is None:
        return "—"
    if isinstance(x, bool):
        return str(x).lower()
    if isinstance(x, Mapping):
        return ", ".join(f"{name} {short(each)}" for name, each in x.items() if each is not None)
    if isinstance(x, list | tuple):
        return " ".join(map(short, x)) or "none"
    word = f"{x:g}" if isinstance(x, float) else str(x)
    return f"{word[:12]}…" if len(word) == 64 and set(word) <= set("0123456789abcdef") else word


def plain(x: object) -> str:
    """As text of one line that does nothing to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in str(x))


def text(x: object, style: str = "") -> Text:
    """Text that is shown as it is: no markup, no control characters."""
    return Text(plain(x), style, overflow="fold")


def aside(words: str) -> Text:
    return text(words, "dim")


def lines(some: Iterable[Text]) -> Text:
    return Text("\n").join(each for each in some if each)


def section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(), Text(title, "bold"), Padding(body, (0, 0, 0, 2)))


def table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[int] = (), leading: int = 0
) -> Table:
    """Cells are `Text`, or words of ours."""
    made, rows = (
        Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(header), leading=leading),
        list(rows),
    )
    for i, name in enumerate(header or [""] * max(map(len, rows), default=0)):
        made.add_column(name, header_style="bold", justify="right" if i in right else "left", overflow="fold")
    for cells in rows:
        made.add_row(*(cell if isinstance(cell, Text) else text(cell) for cell in cells))
    return made
