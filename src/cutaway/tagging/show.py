"""Scores as tables, ours beside what is published."""

from collections.abc import Mapping, Sequence
from typing import Any

from cutaway.core.seeds import flat, summary
from cutaway.tagging.paper import SENTENCES, published

THREE = {"intent_accuracy": "intent accuracy", "spans.f1": "span F1", "frame_accuracy": "frame accuracy"}
"""The numbers that every paper gives."""
Table = tuple[tuple[str, ...], list[tuple]]
"""The header, and rows of as many words."""


def comparison(runs: Mapping[str, Sequence[dict]], data: str) -> Table:
    """A row for each of ours, and below the published ones for this data set.

    Args:
        runs: evaluations (`Evaluation.to_dict`) by name; those of several seeds are one row, mean ± sd.
    """
    rows = [(name, *_numbers(some), _about(some)) for name, some in runs.items()]
    n = next(iter(runs.values()))[0]["n"]
    if SENTENCES.get(data.lower()) == n:
        rows += [
            (p.system, *(f"{x:.2f}" if x else "" for x in (p.intent_accuracy, p.span_f1, p.frame_accuracy)), p.source)
            for p in published(data)
        ]
    return ("", *THREE.values(), "source"), rows


def by_type(scores: dict, most: int = 10) -> Table:
    """The types of spans, the most frequent first."""
    types = sorted(scores["by_type"].items(), key=lambda item: (-item[1]["there"], item[0]))
    rows = [
        (name, *(_interval(each[k]) for k in ("precision", "recall", "f1")), str(each["there"]))
        for name, each in types[:most]
    ]
    return ("type", "precision", "recall", "F1", "spans"), rows


def remarks(scores: dict) -> list[str]:
    """What else there is to say, a line each."""
    error, unseen, rejection = scores["calibration_error"], scores["unseen"], scores["rejection"]
    told = [scores["protocol"]]
    for what, seen in (("intents", unseen["intents"]), ("types", unseen["types"])):
        if seen:
            told.append(
                f"unseen in training, counted as wrong: {what} {', '.join(f'{k} ({n}×)' for k, n in seen.items())}"
            )
    told += [
        f"confidences of {what} are off by {error[what]:.1%} on average ({error[f'{what}_uncalibrated']:.1%} uncalibrated)"
        for what in ("intents", "spans")
        if error[what] is not None
    ]
    if rejection:
        told.append(
            f"rejected: {rejection['rejected_outside']:.1%} of {rejection['outside']} sentences of another domain, "
            f"{rejection['rejected_inside']:.1%} of its own {rejection['inside']} (AUROC {rejection['auroc']:.3f})"
        )
    if near := scores["relaxed"]:
        told += [f"near misses, {way}: F1 {_interval(x['f1'])}" for way, x in near.items()]
    return told


def _numbers(runs: Sequence[dict]) -> list[str]:
    if len(runs) > 1:
        told = summary([flat(run) for run in runs])
        return [f"{100 * told[k].mean:.2f} ± {100 * told[k].sd:.2f}" if k in told else "" for k in THREE]
    nested = [_at(runs[0], key) for key in THREE]
    return [_interval(x) if x else "" for x in nested]


def _about(runs: Sequence[dict]) -> str:
    n = f"{runs[0]['n']} sentences"
    return f"{len(runs)} seeds, mean ± sd, {n}" if len(runs) > 1 else f"95 % interval, {n}"


def _at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree and tree[name]
    return tree


def _interval(x: dict) -> str:
    return f"{100 * x['mean']:.2f} [{100 * x['low']:.2f}, {100 * x['high']:.2f}]"
