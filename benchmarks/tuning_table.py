"""Methods of tuning side by side, with equal budgets: quality on five tasks of GLUE, parameters, memory, time.

    CUTAWAY_DATA=DATA python benchmarks/tuning_table.py              all cells that are not measured yet; stop it at any time
    python benchmarks/tuning_table.py --tasks sst2 --methods lora    some of them
    python benchmarks/tuning_table.py --costs                        parameters, memory and time of a step, on a quiet machine
    python benchmarks/tuning_table.py --quick                        a trial of seconds on a few examples, which writes nothing
    python benchmarks/tuning_table.py --table                        the tables of docs/tuning.md, from the committed results

An experiment is benchmarks/tuning/study.toml, changed by a file of tasks/ and one of methods/, which hold only their differences.
Each method is trained at its rates with seed 0; the rate that is best on dev is trained with the other seeds. The rate of
study.toml is the default that all share. Training sets are drawn once; the dev set has 500 examples; the test set is whole.
"""

import argparse
import json
import os
import random
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cutaway.core.configs import changed, table
from cutaway.core.errors import CutawayError
from cutaway.core.estimates import OverSeeds
from cutaway.core.progress import Progress, TerminalProgress
from cutaway.core.runs import manifest, put
from cutaway.tuning.backbone import load_model
from cutaway.tuning.config import Config
from cutaway.tuning.corpus import Corpus, read_corpus
from cutaway.tuning.method import method
from cutaway.tuning.plan import Cost, plan
from cutaway.tuning.run import fit_run

DATA = Path(os.environ.get("CUTAWAY_DATA", "../shared/data")).resolve()
WORK = Path.home() / ".cache" / "cutaway-benchmarks" / "tuning-table"
HERE = Path(__file__).parent / "tuning"
RESULT = Path(__file__).parent / "results" / "tuning-table.json"
COSTS = Path(__file__).parent / "results" / "tuning-costs.json"
TASKS = ("sst2", "stsb", "cola", "mrpc", "rte")
METRICS = {"stsb": "pearson", "cola": "matthews"}
"""What is told of a task; accuracy of others."""
SEEDS = (0, 1, 2)
DEV = 500
FACTS = ("seconds", "parameters", "parameters_trained", "best_step", "data_sha256", "versions", "hardware")
KINDS = ("partial", "additive", "reparameterised", "hybrid", "unified")

Cells = dict[str, dict]


@dataclass(frozen=True)
class Experiment:
    """A task and a method: the settings, and the rates to try."""

    config: Config
    rates: tuple[float, ...]

    def at(self, rate: float, seed: int) -> Config:
        return replace(self.config, training=replace(self.config.training, lr=rate, seed=seed))


def experiment(task: str, name: str) -> Experiment:
    """The shared settings, changed by the task's and the method's."""
    config, rates = Config(), (Config().training.lr,)
    for file in (HERE / "study.toml", HERE / "tasks" / f"{task}.toml", HERE / "methods" / f"{name}.toml"):
        given = tomllib.loads(file.read_text())
        rates = tuple(given.pop("search", {}).get("rates", rates))
        config = changed(config, given)
    return Experiment(config, rates)


def methods() -> list[str]:
    """Those that are compared, in order of the taxonomy, full fine-tuning first."""
    names = [file.stem for file in (HERE / "methods").glob("*.toml")]
    return sorted(names, key=lambda name: (name != "full", KINDS.index(method(name).kind), name))


def corpus(task: str) -> Corpus:
    """The task's data, with a part of its dev set, drawn once."""
    read = read_corpus(DATA / f"glue_{task}", limit=experiment(task, "full").config.limit)
    few = sorted(random.Random(0).sample(range(len(read.dev)), min(DEV, len(read.dev))))
    return replace(read, dev=tuple(read.dev[i] for i in few))


# --- measuring --------------------------------------------------------------------------------------------------------


def wanted(found: Cells, given: argparse.Namespace) -> Iterator[tuple[str, str, float, int]]:
    """Task, method, rate, seed: all rates with the first seed, then the best one with the others. `found` grows meanwhile."""
    for seed in given.seeds:
        for task in given.tasks:
            for name in given.methods:
                made = experiment(task, name)
                rates = made.rates if seed == SEEDS[0] else [best(found, task, name)]
                yield from ((task, name, rate, seed) for rate in rates if rate is not None)


def best(found: Cells, task: str, name: str) -> float | None:
    """The rate whose first seed is best on dev; None if not all were tried."""
    rates = experiment(task, name).rates
    tried = {rate: found.get(key(task, name, rate, SEEDS[0])) for rate in rates}
    if not all(tried.values()):
        return None
    return max(rates, key=lambda rate: score(tried[rate], task, "dev"))


def score(cell: Mapping[str, Any] | None, task: str, part: str) -> float:
    """The task's metric; of a training that diverged, less than any."""
    if not cell or "failed" in cell:
        return -1.0
    return cell[part][METRICS.get(task, "accuracy")]["mean"]


def key(task: str, name: str, rate: float, seed: int) -> str:
    return f"{task} | {name} | {rate:g} | {seed}"


def measure(data: Corpus, config: Config, folder: Path, progress: Progress) -> dict:
    """One cell: trained in `folder`, where what an earlier start has done is taken up again."""
    try:
        scores = fit_run(config, data, folder, command="benchmarks/tuning_table.py", progress=progress, resume=True)
    except CutawayError as error:
        return {"config": table(config), "failed": str(error)}
    manifest = json.loads((folder / "manifest.json").read_text())
    return {"config": table(config), **scores, **{name: manifest.get(name) for name in FACTS}}


def measured(given: argparse.Namespace) -> None:
    """Every cell that is not there yet with the same settings; each is written as soon as it is measured."""
    torch.set_num_threads(given.threads)
    found, progress, data = cells(given.out), TerminalProgress(), {}
    for task, name, rate, seed in wanted(found, given):
        config, called = experiment(task, name).at(rate, seed), key(task, name, rate, seed)
        if found.get(called, {}).get("config") == json.loads(json.dumps(table(config))):
            continue
        if task not in data:
            data[task] = corpus(task)
        progress.say(called)
        found[called] = measure(data[task], config, given.work / called.replace(" | ", "/"), progress)
        put(given.out, (json.dumps({"cells": found}, indent=1) + "\n").encode())


def cells(path: Path) -> Cells:
    """Those that are there."""
    return json.loads(path.read_text())["cells"] if path.exists() else {}


def costs(given: argparse.Namespace) -> None:
    """Parameters, peak memory and time of a step, of the options that are compared."""
    torch.set_num_threads(given.threads)
    shared = experiment("sst2", "full").config
    options = {name: experiment("sst2", name).config.of_method() for name in given.methods}
    found = plan(
        load_model(shared.model), given.methods, options=options, batch=shared.training.batch, length=shared.length,
        steps=9, progress=TerminalProgress(),
    )  # fmt: skip
    told = {x.method: x.to_dict() for x in found if isinstance(x, Cost)}
    about = {"batch": shared.training.batch, "length": shared.length, "threads": given.threads}
    made = {"costs": told, **about, **manifest("benchmarks/tuning_table.py --costs")}
    put(COSTS, (json.dumps(made, indent=1) + "\n").encode())


# --- telling ----------------------------------------------------------------------------------------------------------


def markdown(found: Cells, cost: Mapping[str, Mapping]) -> str:
    """A row for each method: parameters, memory, time of a step, and on each task that was begun quality at the default rate and at
    the best."""
    tasks = [task for task in TASKS if any(name.startswith(f"{task} | ") for name in found)]
    header = ["method", "class", "learn", "peak", "step", *tasks]
    lines = ["| " + " | ".join(header) + " |", "|---|---|---" + "|---" * (len(header) - 3) + "|"]
    whole = cost.get("full", {})
    for name in methods():
        mine = cost.get(name, {})
        told = [
            f"{mine['share']:.2%}" if mine else "",
            f"{mine['peak_bytes'] / whole['peak_bytes']:.2f}" if mine else "",
            f"{mine['step_seconds'] / whole['step_seconds']:.2f}" if mine else "",
        ]
        scores = [quality(found, task, name) for task in tasks]
        lines.append(f"| `{name}` | {method(name).kind} | {' | '.join([*told, *scores])} |")
    return "\n".join(lines)


def quality(found: Cells, task: str, name: str) -> str:
    """In percent on the test set: at the default rate (seed 0), an arrow, and the mean ± sd over seeds at the best rate."""
    default, chosen = experiment(task, name).config.training.lr, best(found, task, name)
    if chosen is None:
        return "–"
    seeds = [cell for seed in SEEDS if (cell := found.get(key(task, name, chosen, seed)))]
    over = OverSeeds.of([100 * score(cell, task, "test") for cell in seeds])
    spread = f" ± {over.sd:.1f}" if len(seeds) > 1 else ""
    plain = found.get(key(task, name, default, SEEDS[0]))
    first = "diverged" if not plain or "failed" in plain else f"{100 * score(plain, task, 'test'):.1f}"
    return f"{first} → {over.mean:.1f}{spread} ({chosen:g})"


def quick(given: argparse.Namespace) -> Cells:
    """Every method for an epoch on a few examples: does all of it run? Nothing is written."""
    data, made = corpus("sst2"), {}
    few = replace(data, train=data.train[:32], dev=data.dev[:16], test=data.test[:16])
    with tempfile.TemporaryDirectory() as work:
        for name in given.methods:
            each = experiment("sst2", name)
            for rate in each.rates:
                config = each.at(rate, 0)
                config = replace(config, training=replace(config.training, epochs=1))
                called = key("sst2", name, rate, 0)
                made[called] = measure(few, config, Path(work) / called.replace(" | ", "/"), TerminalProgress())
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=methods(), choices=methods())
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--work", type=Path, default=WORK, help="where runs and checkpoints are kept")
    parser.add_argument("--out", type=Path, default=RESULT)
    for flag in ("costs", "quick", "table"):
        parser.add_argument(f"--{flag}", action="store_true")
    given = parser.parse_args()
    known = json.loads(COSTS.read_text())["costs"] if COSTS.exists() else {}
    if given.quick:
        return print(markdown(quick(given), known))
    if given.costs:
        costs(given)
    elif not given.table:
        measured(given)
    print(markdown(cells(given.out), known))


if __name__ == "__main__":
    main()
