"""What the studies of tagging share: cells that are measured one by one, so that a study can be stopped and taken up again.

A cell is a data set, a system and a seed. Weights, temperatures and thresholds are chosen on dev, and so were the settings; the
test set is measured once a cell.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from cutaway.core.configs import table
from cutaway.core.estimates import OverSeeds
from cutaway.core.progress import Progress, TerminalProgress
from cutaway.core.runs import put
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import Corpus
from cutaway.tagging.evaluate import evaluate
from cutaway.tagging.run import fit_run
from cutaway.tagging.store import load

DATA = Path(os.environ.get("CUTAWAY_DATA", "../shared/data")).resolve()
WORK = Path.home() / ".cache" / "cutaway-benchmarks"
SEEDS = (0, 1, 2)
FACTS = ("seconds", "peak_memory_gib", "parameters", "best_step", "data_sha256", "versions", "hardware")

Cells = dict[str, dict]
Wanted = Iterable[tuple[str, str, int]]
"""Data, system, seed."""


def arguments(about: str, data: Iterable[str]) -> argparse.ArgumentParser:
    """The flags of a study."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--data", nargs="+", default=list(data), choices=list(data))
    parser.add_argument("--systems", nargs="+", help="only these, by their whole names")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="where runs and checkpoints are kept")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    return parser


def measured(
    given: argparse.Namespace, wanted: Wanted, config: Callable[[str, str], Config], corpora: Mapping[str, Corpus]
):
    """Every wanted cell that is not there yet with the same settings; each is written as soon as it is measured."""
    torch.set_num_threads(given.threads)
    found, progress = cells(given.out), TerminalProgress()
    for data, system, seed in wanted:
        name, plain = f"{data} | {system} | {seed}", config(data, system)
        seeded = replace(plain, training=replace(plain.training, seed=seed))
        if found.get(name, {}).get("config") == json.loads(json.dumps(table(seeded))):
            continue
        progress.say(name)
        place = given.work / name.replace(" | ", "/").replace(" ", "-")
        found = cells(given.out) | {name: measure(corpora, data, seeded, place, progress)}
        put(given.out, (json.dumps({"cells": found}, indent=1, ensure_ascii=False) + "\n").encode())
    return found


def cells(path: Path) -> Cells:
    """Those that are there."""
    return json.loads(path.read_text())["cells"] if path.exists() else {}


def measure(corpora: Mapping[str, Corpus], data: str, config: Config, folder: Path, progress: Progress) -> dict:
    """One cell: trained in `folder`, where what an earlier start has done is taken up again.

    What it rejects, if it knows intents, is measured with the test sentences of the other data, of which nothing is chosen.
    """
    scores = fit_run(config, corpora[data], folder, command=f"benchmarks, {data}", progress=progress, resume=True)
    told = {part: {name: x for name, x in score.items() if name != "by_type"} for part, score in scores.items()}
    if config.intents != "off":
        strange = [s for name, corpus in corpora.items() if name != data for s in corpus.test]
        told["test"]["rejection"] = evaluate(load(folder), corpora[data].test, outside=strange).to_dict()["rejection"]
    manifest = json.loads((folder / "manifest.json").read_text())
    return {"config": table(config), **told, **{name: manifest[name] for name in FACTS}}


def quick(systems: Mapping[str, Config], corpora: Mapping[str, Corpus], data: str) -> Cells:
    """Every system for two epochs on a few sentences: does all of it run? Nothing is written."""
    few = {name: replace(c, train=c.train[:48], dev=c.dev[:16], test=c.test[:16]) for name, c in corpora.items()}
    made = {}
    with tempfile.TemporaryDirectory() as work:
        for i, (system, config) in enumerate(systems.items()):
            config = replace(config, training=replace(config.training, epochs=2))
            made[f"{data} | {system} | 0"] = measure(few, data, config, Path(work) / str(i), TerminalProgress())
    return made


def of(found: Cells, data: str, system: str) -> list[dict]:
    """The seeds of a system."""
    return [cell for name, cell in found.items() if name.split(" | ")[:2] == [data, system]]


def over(some: list[dict], *path: str) -> str:
    """Mean ± standard deviation over seeds, in percent; a dash for what is not measured."""
    values = []
    for cell in some:
        for name in path:
            cell = cell.get(name) or {}
        values.append(100 * cell.get("mean", float("nan")))
    if values[0] != values[0]:
        return "–"
    told = OverSeeds.of(values)
    return f"{told.mean:.2f} ± {told.sd:.2f}" if len(values) > 1 else f"{told.mean:.2f}"
