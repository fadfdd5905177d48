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

from cutaway.core.comparing_runs import Comparison, Difference
from cutaway.core.estimates import Estimate
from cutaway.core.numbers import Score, value
from cutaway.core.reading_runs import FinishedRun, main_scores, sure_scores

ELSEWHERE = ("command", "made", "seconds", "seed", "kind", "main_scores")
"""What of a manifest the head of a page says already."""
NARROW = 26
"""Columns that the name of a run wants at least."""
BARS = "▁▂▃▄▅▆▇█"


def listing(runs: Sequence[FinishedRun], console: Console) -> None:
    """A row for each run, with the scores to look at first; where rows do not fit, what they say line by line."""
    names = {run.folder: main_scores(run) for run in runs}
    pad = max((len(plain(name)) for some in names.values() for name in some), default=0)
    rows = []
    for run in runs:
        scores = lines(text(f"{plain(name):<{pad}}  {number(run.scores[name])}") for name in names[run.folder])
        rows.append(
            (text(run.what), lines(map(text, run.about)), seeds(run), lines(map(text, when(run))), took(run), scores)
        )
    header = ("what", "on", "seed", "when", "took", "scores")
    if console.width - console.measure(table(header, rows)).maximum >= NARROW:
        whole = table(("run", *header), [(text(run.folder, "bold"), *row) for run, row in zip(runs, rows, strict=True)])
        for column in whole.columns[1:]:
            column.no_wrap = True
        return console.print(whole)
    for run, row in zip(runs, rows, strict=True):
        console.print(text(run.folder, "bold"), soft_wrap=True)
        console.print(indented(lines((text(brief(run), "dim"), row[-1]))))


def page(run: FinishedRun, *, defaults: Mapping[str, Any] | None, every: bool) -> Iterator[RenderableType]:
    """What a run says of itself; its settings beside the defaults of its room, if these are known."""
    yield lines((text(run.folder, "bold"), text(brief(run)), text(run.manifest.get("command", ""), "dim")))
    yield section("settings", _settings(run.config, defaults or {}))
    facts = [(text(name), text(short(x))) for name, x in run.manifest.items() if name not in ELSEWHERE]
    yield section("made with", table((), facts))
    shown = list(run.scores) if every else sure_scores(run)
    if shown:
        yield section("scores", _scores(run, shown))
    if left := len(run.scores) - len(shown):
        yield indented(aside(f"and {left} more: --all"))


def learned(curves: Mapping[str, Sequence[float]], width: int) -> RenderableType:
    """Each number of the training as a line of bars, with where it began and ended and how far it went."""
    room = width - max(len(plain(name)) for name in curves) - 52  # of a line beside names and numbers
    rows = []
    for name, values in curves.items():
        bars, logarithmic = spark(values, min(40, max(10, room)))
        ends = (number(x) for x in (values[0], values[-1], min(values), max(values)))
        rows.append((text(name), Text(bars), *ends, aside("log" if logarithmic else "")))
    return section("training", table(("", "", "first", "last", "least", "most", ""), rows, right=(2, 3, 4, 5)))


def contents(files: Sequence[tuple[str, int, int]]) -> RenderableType:
    """Files with their sizes; of a folder how many it holds."""
    rows = [(text(name), size(n), f"{inner} files" if name.endswith("/") else "") for name, n, inner in files]
    return section("files", table((), rows, right=(1,)))


def comparison(found: Comparison, console: Console, *, every: bool) -> Iterator[RenderableType]:
    """Runs by letters; then tables with a column for each letter."""
    letters = ascii_uppercase[: len(found.runs)]
    told = [lines((text(run.folder, "bold"), text(brief(run)))) for run in found.runs]
    yield table((), [(Text(letter, "bold"), each) for letter, each in zip(letters, told, strict=True)])
    for line in found.warnings:
        yield text(line, "bold red")
    for title, differing in (("settings that differ", found.settings), ("facts that differ", found.facts)):
        rows = [(text(name), *(text(short(x)) for x in some)) for name, some in differing.items()]
        yield section(title, table(("", *letters), rows) if rows else aside("none"))
    sure = {name for run in found.runs for name in sure_scores(run)}
    shown = [name for name in found.scores if every or name in sure]
    yield section("scores", _scores_beside(found, shown, letters, console) if shown else aside("they share none"))
    if left := len(found.scores) - len(shown):
        yield indented(aside(f"and {left} more: --all"))
    for note in found.notes:
        yield indented(aside(note))


def complain(console: Console, path: Path, wrong: Iterable[str]) -> None:
    """One line for each thing that is wrong with a run."""
    for line in wrong:
        console.print(text(f"{path}: {line}", "yellow"), soft_wrap=True)


def row(run: FinishedRun) -> dict[str, Any]:
    """A run in a list, as data."""
    return {
        "run": str(run.folder),
        "what": run.what,
        "about": run.about,
        "seeds": [each.seed for each in run.seeds] or [run.seed],
        "made": run.made and run.made.isoformat(),
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
    """JSON that any reader takes: null for NaN, and bytes of a file's name that are no text as escapes."""
    written = json.dumps(_data(told), indent=1, ensure_ascii=False, allow_nan=False)
    return written.encode("utf-8", "backslashreplace").decode()


def _data(x: Any) -> Any:
    if hasattr(x, "to_dict"):
        x = x.to_dict()
    if isinstance(x, Mapping):
        return {str(name): _data(each) for name, each in x.items()}
    if isinstance(x, list | tuple):
        return [_data(each) for each in x]
    if isinstance(x, float) and not math.isfinite(x):
        return None
    return x if isinstance(x, str | int | float | None) else str(x)


def _settings(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> RenderableType:
    """Those that are not as by default, each with its default; then the others, briefly."""
    usual = [name for name, x in config.items() if name in defaults and defaults[name] == x]
    rows = []
    for name in (name for name in config if name not in usual):
        known = name in defaults
        said = aside(f"default {short(defaults[name])}" if known else "")
        rows.append((text(name), text(short(config[name]), "bold" if known else ""), said))
    rest = aside("as by default: " + ", ".join(f"{name} {short(config[name])}" for name in usual))
    return Group(*([table((), rows)] if rows else []), *([rest] if usual else []))


def _scores(run: FinishedRun, names: Sequence[str]) -> Table:
    """With intervals; of several seeds each one's."""
    if run.seeds:
        rows = [(text(x), number(run.scores[x]), *(number(value(each.scores[x])) for each in run.seeds)) for x in names]
        return table(("", "mean ± sd", *(f"seed {each.seed}" for each in run.seeds)), rows)
    rows = []
    for name in names:
        x = run.scores[name]
        sure = (number(x.mean), f"{x.low:.3f} to {x.high:.3f}", str(x.n or "")) if isinstance(x, Estimate) else None
        rows.append((text(name), *(sure or (number(x), "", ""))))
    return table(("", "score", "95 % interval", "n"), rows, right=(1, 3))


def _scores_beside(found: Comparison, names: Sequence[str], letters: str, console: Console) -> Table:
    """A line for each score if that fits; else numbers, intervals and differences below each other."""
    first, others = letters[0], letters[1:]
    flat, tall = [], []
    for name in names:
        pairs = list(zip(map(number, found.scores[name]), map(apart, found.differences[name]), strict=True))
        flat.append((text(name), pairs[0][0], *(word for pair in pairs[1:] for word in pair)))
        tall.append((text(name), *(lines(Text(x.replace(" [", "\n[")) for x in pair) for pair in pairs)))
    beside = table(("", first, *(head for x in others for head in (x, f"{x} − {first}"))), flat)
    if console.measure(beside, options=console.options.update(width=10_000)).maximum + 2 <= console.width:
        return beside
    return table(("", first, *(f"{x}, {x} − {first}" for x in others)), tall, leading=1)


def brief(run: FinishedRun) -> str:
    """What a run is, in a line."""
    seed = f"seed {run.seed}" if run.seed is not None else seeds(run)
    return ", ".join(filter(None, (run.what, *run.about, seed, " ".join(when(run)), took(run))))


def seeds(run: FinishedRun) -> str:
    return f"{len(run.seeds)} seeds" if run.seeds else "" if run.seed is None else str(run.seed)


def when(run: FinishedRun) -> tuple[str, ...]:
    """Day and time, if they are known."""
    return (f"{run.made:%Y-%m-%d}", f"{run.made:%H:%M}") if run.made else ()


def took(run: FinishedRun) -> str:
    """The time in the unit in which a person would say it."""
    seconds = run.seconds
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes in the unit in which a person would say them."""
    if count < 1024:
        return f"{count} B"
    power = min(3, int(math.log2(count) // 10))
    return f"{count / 1024**power:.1f} {'KMG'[power - 1]}iB"


def number(x: Score | None) -> str:
    """A score with what is known of its uncertainty."""
    if isinstance(x, float):
        return f"{x:.3f}" if 1e-3 <= abs(x) < 1e4 else f"{x:.3g}"
    return "" if x is None else str(x)


def apart(x: Difference | None) -> str:
    return "" if x is None else str(x)


def spark(values: Sequence[float], width: int) -> tuple[str, bool]:
    """Bars, each the mean of as many values; on a logarithmic scale, and so said, if the highest is 100 times the lowest."""
    finite = [x for x in values if math.isfinite(x)]
    n = min(width, len(finite))
    if not n:
        return "", False
    cuts = [round(i * len(finite) / n) for i in range(n + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in pairwise(cuts)]
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
    """As one line of text that does nothing to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(x))


def text(x: object, style: str = "") -> Text:
    """Text that is shown as it is: no markup, no control characters."""
    return Text(plain(x), style, overflow="fold")


def aside(words: str) -> Text:
    return text(words, "dim")


def lines(some: Iterable[Text]) -> Text:
    return Text("\n").join(each for each in some if each)


def indented(body: RenderableType) -> RenderableType:
    return Padding(body, (0, 0, 0, 2))


def section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(), Text(title, "bold"), indented(body))


def table(
    header: Sequence[str], rows: Iterable[Sequence[Text | str]], *, right: Sequence[int] = (), leading: int = 0
) -> Table:
    """Columns by their header, or without one. Words that are not `Text` are shown as they are."""
    rows = list(rows)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(header), leading=leading)
    for i, name in enumerate(header or [""] * max(map(len, rows), default=0)):
        made.add_column(text(name), header_style="bold", justify="right" if i in right else "left", overflow="fold")
    for cells in rows:
        made.add_row(*(cell if isinstance(cell, Text) else text(cell) for cell in cells))
    return made
