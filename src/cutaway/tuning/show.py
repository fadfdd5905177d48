"""Scores as tables, ours beside what is published."""

from collections.abc import Mapping, Sequence

from cutaway.core.seeds import flat, summary
from cutaway.tuning.paper import published

NAMES = {
    "accuracy": "accuracy", "f1": "F1", "matthews": "Matthews", "pearson": "Pearson", "spearman": "Spearman",
    "correlation": "mean of the two", "log_likelihood": "log-likelihood per token", "perplexity": "perplexity",
    "token_accuracy": "token accuracy", "exact_match": "exact match",
}  # fmt: skip
PLAIN = ("log_likelihood", "perplexity")
"""What is no share, and not shown in percent."""
Table = tuple[tuple[str, ...], list[tuple]]
"""The header, and rows of as many words."""


def comparison(runs: Mapping[str, Sequence[dict]], data: str) -> Table:
    """A row for each of ours, and below the published ones for this data set.

    Args:
        runs: evaluations (`Scores.to_dict`) by name; those of several seeds are one row, mean ± sd.
    """
    first = next(iter(runs.values()))[0]
    names = [name for name in NAMES if name in first]
    rows = [(name, *_numbers(some, names), _about(some)) for name, some in runs.items()]
    for p in published(data, first["n"]):
        if p.metric in names:
            told = [f"{p.value:.1f}" if name == p.metric else "" for name in names]
            rows.append((f"{p.system} ({p.parameters:g} M)", *told, p.source))
    return ("", *(NAMES[name] for name in names), "source"), rows


def remarks(scores: dict) -> list[str]:
    """What else there is to say, a line each."""
    told = [scores["protocol"]]
    if unseen := scores["unseen"]:
        told.append(f"unseen in training, counted as wrong: {', '.join(f'{k} ({n}×)' for k, n in unseen.items())}")
    return told


def _numbers(runs: Sequence[dict], names: Sequence[str]) -> list[str]:
    if len(runs) == 1:
        return [_interval(runs[0][name], name) for name in names]
    told = summary([flat(run) for run in runs])
    return [f"{_shown(told[name].mean, name)} ± {_shown(told[name].sd, name)}" for name in names]


def _about(runs: Sequence[dict]) -> str:
    n = f"{runs[0]['n']} examples"
    return f"{len(runs)} seeds, mean ± sd, {n}" if len(runs) > 1 else f"95 % interval, {n}"


def _interval(x: dict, name: str) -> str:
    return f"{_shown(x['mean'], name)} [{_shown(x['low'], name)}, {_shown(x['high'], name)}]"


def _shown(x: float, name: str) -> str:
    return f"{x:.3f}" if name in PLAIN else f"{100 * x:.2f}"
