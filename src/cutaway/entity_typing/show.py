"""Scores as tables, ours beside what is published."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cutaway.core.seeds import flat, summary
from cutaway.entity_typing.corpus import Corpus
from cutaway.entity_typing.paper import published
from cutaway.entity_typing.scores import SEEN, seen_part

COLUMNS = {
    "total.macro.precision": "macro P", "total.macro.recall": "macro R", "total.macro.f1": "macro F1",
    "total.micro.f1": "micro F1", "accuracy": "accuracy",
}  # fmt: skip
Table = tuple[tuple[str, ...], list[tuple]]
"""The header, and rows of as many words."""


def comparison(runs: Mapping[str, Sequence[dict]], data: str) -> Table:
    """A row for each of ours, and below the published ones for this data set.

    Args:
        runs: evaluations (`Scores.to_dict`) by name; those of several seeds are one row, mean ± sd.
    """
    rows = [(name, *_numbers(some), _about(some)) for name, some in runs.items()]
    n = next(iter(runs.values()))[0]["n"]
    for p in published(data, n):
        rows.append((p.system, *(f"{x:.1f}" for x in (p.precision, p.recall, p.f1)), "", "", _short(p.source)))
    return ("", *COLUMNS.values(), "source"), rows


def by_part(scores: dict[str, Any], data: str = "") -> Table:
    """All types, those of each group, and by how often training has shown them; published numbers below the groups."""
    rows = [_part("all types", scores["total"])]
    for name, part in scores["by_group"].items():
        rows.append(_part(name, part))
        for p in published(data, scores["n"], name):
            told = [f"{x:.1f}" for x in (p.precision, p.recall, p.f1)]
            rows.append((f"  {p.system}", *told, *[""] * 6))
    rows += [_part(f"seen {name}" + " times" * (name != "never"), part) for name, part in scores["by_seen"].items()]
    header = ("types", "macro P", "macro R", "macro F1", "micro P", "micro R", "micro F1", "there", "said", "right")
    return header, rows


def groups(corpus: Corpus, most: int) -> Table:
    """Of each group of types: how many, how often there in each part, and the `most` frequent of them."""
    parts = {"train": corpus.train, "dev": corpus.dev, "test": corpus.test}
    counts = {part: Counter(x for m in mentions for x in m.types or ()) for part, mentions in parts.items() if mentions}
    whole = sum(counts.values(), Counter())
    rows = []
    for group in corpus.types.order or ("",):
        mine = [name for name, its in zip(corpus.types.names, corpus.types.groups, strict=True) if its == group]
        often = sorted(mine, key=lambda name: -whole[name])[:most]
        told = ", ".join(name for name in often if whole[name])
        rows.append(
            (group or "all", f"{len(mine):,}", *(f"{sum(n[x] for x in mine):,}" for n in counts.values()), told)
        )
    return ("group", "types", *counts, "the most frequent"), rows


def rarity(corpus: Corpus) -> Table:
    """How many types training shows so often, and what share of the labels of dev and test they are."""
    seen = corpus.seen()
    kinds = Counter(seen_part(seen[name]) for name in corpus.types.names)
    parts = {part: some for part, some in (("dev", corpus.dev), ("test", corpus.test)) if some}
    held = {part: Counter(seen_part(seen[x]) for m in some for x in m.types or ()) for part, some in parts.items()}
    rows = [
        (name, f"{kinds[name]:,}", *(f"{n[name]:,} ({n[name] / max(1, n.total()):.1%})" for n in held.values()))
        for name in SEEN
    ]
    return ("seen in training", "types", *held), rows


def remarks(scores: dict[str, Any]) -> list[str]:
    """What else there is to say, a line each."""
    total, told = scores["total"], [scores["protocol"]]
    if silent := scores["n"] - total["mentions_said"]:
        told.append(f"nothing is said of {silent:,} of {scores['n']:,} mentions, which costs recall and no precision")
    if empty := scores["n"] - total["mentions_there"]:
        told.append(f"{empty:,} mentions have no types, so that whatever is said of them is wrong")
    per = [total[name] / n if (n := total[f"mentions_{name}"]) else 0 for name in ("said", "there")]
    told.append(f"{per[0]:.2f} types are said of a mention, where {per[1]:.2f} are there (of those that have any)")
    return told


def _numbers(runs: Sequence[dict]) -> list[str]:
    if len(runs) > 1:
        told = summary([flat(run) for run in runs])
        return [f"{100 * told[k].mean:.1f} ± {100 * told[k].sd:.1f}" if k in told else "" for k in COLUMNS]
    return [_interval(_at(runs[0], key)) for key in COLUMNS]


def _part(name: str, part: dict[str, Any]) -> tuple:
    numbers = [_interval(part[mean][each]) for mean in ("macro", "micro") for each in ("precision", "recall", "f1")]
    return (name, *numbers, *(f"{part[key]:,}" for key in ("there", "said", "right")))


def _about(runs: Sequence[dict]) -> str:
    n = f"{runs[0]['n']:,} mentions"
    return f"{len(runs)} seeds, mean ± sd, {n}" if len(runs) > 1 else f"95 % interval, {n}"


def _at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree[name]
    return tree


def _short(source: str) -> str:
    """Up to the year."""
    found = re.match(r".*?\b(19|20)\d\d", source)
    return found.group() if found else source


def _interval(x: dict[str, Any]) -> str:
    return f"{100 * x['mean']:.1f} [{100 * x['low']:.1f}, {100 * x['high']:.1f}]"
