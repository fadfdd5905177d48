"""A finished run as tables a person can read in a terminal; made from the run folder alone."""

import json
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cutaway.core.errors import CutawayError


def read(folder: str | Path, name: str) -> dict:
    """One JSON file of a run folder; raises `CutawayError` where it is not one."""
    file = Path(folder) / name
    try:
        return json.loads(file.read_text())
    except FileNotFoundError as error:
        raise CutawayError(f"{folder} is not a run of `cutaway circuits find`: it has no {name}") from error
    except json.JSONDecodeError as error:
        raise CutawayError(f"{file} is damaged: {error}") from error


def summary(folder: str | Path) -> RenderableType:
    """The tables at the end of `cutaway circuits find`."""
    circuit, verified = read(folder, "circuit.json"), read(folder, "verification.json")
    performance = read(folder, "performance.json")
    steps = circuit["step_names"]
    return Group(
        _performance(performance, steps, circuit),
        Text(),
        _heads(circuit, steps),
        Text(),
        _kept(verified, steps, len(circuit["heads"])),
        Text(_sentence(circuit, verified), style="bold"),
        *([Text(_moves(read(folder, "sensitivity.json")))] if (Path(folder) / "sensitivity.json").exists() else []),
    )


def _table(title: str, steps: list[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for step in steps:
        table.add_column(step, justify="right")
    return table


def _performance(performance: dict, steps: list[str], circuit: dict) -> Table:
    n = performance["logit_diff"][0]["n"]
    table = _table(f"{circuit['model']} on {circuit['behavior']}, {n} prompts (mean and 95 % interval)", steps)
    rows = {
        "logit difference": "logit_diff",
        "right among alternatives": "correct",
        "right in whole vocabulary": "greedy",
        "by letter frequency alone": "prior",
        "by frequency after the one before": "pair_prior",
    }
    for label, key in rows.items():
        share = key != "logit_diff"
        table.add_row(label, *(_interval(e, share) for e in performance[key]))
    return table


def _heads(circuit: dict, steps: list[str]) -> Table:
    table = Table(
        title="The circuit: effect of corrupting each head on the logit difference, and what dropping it costs",
        title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0),
    )  # fmt: skip
    for column in ("head", "role"):
        table.add_column(column)
    for step in steps:
        table.add_column(f"effect, {step}", justify="right")
    table.add_column("dropped, worst", justify="right")
    table.add_column("why this role")
    for head in circuit["heads"]:
        effects = ["–" if e is None else f"{e[0]:+.2f} [{e[1]:+.2f}, {e[2]:+.2f}]" for e in head["effect"]]
        worst = max(mean for mean, _, _ in head["dropped"])
        name, value = next(iter(head["evidence"].items()))
        table.add_row(
            head["site"], head["role"], *effects, f"−{worst:.0%}" if worst > 0 else "0%", f"{name} {value:.2f}"
        )
    return table


def _kept(verified: dict, steps: list[str], size: int) -> Table:
    table = _table(
        f"Kept of the model's performance, other heads {verified['ablation']}-ablated, {verified['n']} unseen prompts",
        steps,
    )
    table.add_row(f"the circuit alone, {size} heads", *(_interval(e, True) for e in verified["faithfulness"]))
    table.add_row("the model without the circuit", *(_interval(e, True) for e in verified["complement"]))
    nulls = list(zip(*verified["random_circuits"], strict=True))
    count = len(verified["random_circuits"])
    table.add_row(
        f"{count} random circuits of {size} heads, mean", *(f"{sum(column) / len(column):.0%}" for column in nulls)
    )
    table.add_row("the best of them", *(f"{max(column):.0%}" for column in nulls))
    table.add_row("right among alternatives, model", *(f"{e['mean']:.0%}" for e in verified["model"]["correct"]))
    table.add_row("right among alternatives, circuit", *(f"{e['mean']:.0%}" for e in verified["circuit"]["correct"]))
    return table


def _sentence(circuit: dict, verified: dict) -> str:
    kept = ", ".join(f"{e['mean']:.0%}" for e in verified["faithfulness"])
    best = ", ".join(f"{max(column):.0%}" for column in zip(*verified["random_circuits"], strict=True))
    size, total = len(circuit["heads"]), verified["n_heads"]
    share = f"{size} of {total} heads ({size / total:.1%})"
    steps = len(circuit["step_names"])
    return f"\n{share} keep {kept} of the logit difference on the {steps} answer tokens; the best random {size} keep {best}."


def _moves(sensitivity: dict) -> str:
    spans = ", ".join("–" if low != low else f"{low:.0%} to {high:.0%}" for low, high in sensitivity["ranges"])
    others = len(sensitivity["settings"]) - 1
    return f"Measured by {others} other conventions (ablation, direction, metric, prompts) it keeps {spans}: sensitivity.json."


def _interval(estimate: dict, share: bool) -> str:
    style = "{:.0%} [{:.0%}, {:.0%}]" if share else "{:.2f} [{:.2f}, {:.2f}]"
    return style.format(estimate["mean"], estimate["low"], estimate["high"])
