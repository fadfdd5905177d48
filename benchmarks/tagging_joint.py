"""Joint intents and slots on ATIS and Snips: a small pretrained encoder with and without a CRF, a BiLSTM-CRF without pretraining.

    CUTAWAY_DATA=DATA python benchmarks/tagging_joint.py              all cells that are not measured yet; stop it at any time
    python benchmarks/tagging_joint.py --data atis --seeds 0          some of them
    python benchmarks/tagging_joint.py --quick                        a trial of seconds on a few sentences, which writes nothing
    python benchmarks/tagging_joint.py --table                        the table of docs/tagging.md, from the committed result

A cell is a data set, a system and a seed. Weights, temperatures and thresholds are chosen on dev, and so were the settings below;
the test set is measured once a cell. What each cell rejects is measured with the other data set's test sentences, of which
nothing is chosen.
"""

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from cutaway.core.configs import table
from cutaway.core.estimates import OverSeeds
from cutaway.core.progress import Progress, TerminalProgress
from cutaway.core.runs import put
from cutaway.tagging.config import PAPER, Config
from cutaway.tagging.corpus import Corpus, read_corpus
from cutaway.tagging.evaluate import evaluate
from cutaway.tagging.paper import published
from cutaway.tagging.run import fit_run
from cutaway.tagging.store import load

RESULT = Path(__file__).parent / "results" / "tagging-joint.json"
WORK = Path.home() / ".cache" / "cutaway-benchmarks" / "tagging-joint"
DATA = ("atis", "snips")
SEEDS = (0, 1, 2)

ENCODER = Config()
MEAN = {"encoder.sentence": "mean"}
SYSTEMS = {
    "BiLSTM-CRF, no pretraining": Config(
        inputs=("words", "char_cnn"), context="bilstm", decoder="crf", dropout=0.3,
        fresh_lr=1.0, training=replace(ENCODER.training, epochs=40, lr=2e-3, patience=10),
    ),
    "minilm-l6": ENCODER,
    "minilm-l6 + CRF": replace(ENCODER, decoder="crf"),
}  # fmt: skip
ABLATIONS = {
    "minilm-l6, training of the paper": PAPER,
    "minilm-l6 + CRF, intent from the mean": replace(ENCODER, decoder="crf", options=MEAN),
    "minilm-l6 + CRF, slots by their mean": replace(ENCODER, decoder="crf", slot_loss="mean"),
    "minilm-l6 + CRF, both": replace(ENCODER, decoder="crf", slot_loss="mean", options=MEAN),
}
"""What each choice does, measured on ATIS."""


def measure(corpus: Corpus, config: Config, other: Corpus, folder: Path, progress: Progress) -> dict:
    """One cell: trained in `folder`, where what an earlier start has done is taken up again."""
    scores = fit_run(config, corpus, folder, command="benchmarks/tagging_joint.py", progress=progress, resume=True)
    told = {part: _short(x) for part, x in scores.items()}
    told["test"]["rejection"] = evaluate(load(folder), corpus.test, outside=other.test).to_dict()["rejection"]
    manifest = json.loads((folder / "manifest.json").read_text())
    facts = ("seconds", "peak_memory_gib", "parameters", "best_step", "data_sha256", "versions", "hardware")
    return {"config": table(config), **told, **{name: manifest[name] for name in facts}}


def _short(scores: dict) -> dict:
    """Without the types one by one."""
    return {name: x for name, x in scores.items() if name != "by_type"}


def markdown(cells: dict[str, dict]) -> str:
    """The table of the docs: mean ± standard deviation over seeds, the published rows below."""
    lines = ["| data | system | intent accuracy | span F1 | frame accuracy | seeds |", "|---|---|---|---|---|---|"]
    for data in DATA:
        for system in (*SYSTEMS, *ABLATIONS):
            some = [cell["test"] for name, cell in cells.items() if name.split(" | ")[:2] == [data, system]]
            if some:
                three = [_over(some, *path) for path in (("intent_accuracy",), ("spans", "f1"), ("frame_accuracy",))]
                lines.append(f"| {data} | {system} | {' | '.join(three)} | {len(some)} |")
        for row in published(data):
            three = (row.intent_accuracy, row.span_f1, row.frame_accuracy)
            lines.append(f"| {data} | *{row.system}* | {' | '.join(f'{x:.2f}' for x in three)} | |")
    return "\n".join(lines)


def _over(runs: list[dict], *path: str) -> str:
    values = []
    for run in runs:
        for name in path:
            run = run[name]
        values.append(100 * run["mean"])
    told = OverSeeds.of(values)
    return f"{told.mean:.2f} ± {told.sd:.2f}" if len(values) > 1 else f"{told.mean:.2f}"


def cells_of(given: argparse.Namespace) -> list[tuple[str, str, int]]:
    """What is asked for, in order of importance: every data set and system with one seed, then the other seeds."""
    systems = [name for name in SYSTEMS if given.systems is None or given.systems in name]
    first = [(data, system, seed) for seed in given.seeds for data in given.data for system in systems]
    more = [name for name in ABLATIONS if given.systems is None or given.systems in name]
    return first + [("atis", system, seed) for seed in given.seeds for system in more if "atis" in given.data]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA)
    parser.add_argument("--systems", help="only those whose name has this in it")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=WORK, help="where runs and checkpoints are kept")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    found = json.loads(given.out.read_text()) if given.out.exists() else {"cells": {}}
    if given.table:
        return print(markdown(found["cells"]))
    torch.set_num_threads(given.threads)
    folder, progress = Path(os.environ.get("CUTAWAY_DATA", "../shared/data")), TerminalProgress()
    corpora = {name: read_corpus(folder / name) for name in DATA}
    if given.quick:
        return quick(corpora, progress)
    for data, system, seed in cells_of(given):
        name = f"{data} | {system} | {seed}"
        base = (SYSTEMS | ABLATIONS)[system]
        config = replace(base, training=replace(base.training, seed=seed))
        if found["cells"].get(name, {}).get("config") == json.loads(json.dumps(table(config))):
            continue
        progress.say(name)
        place = given.work / name.replace(" | ", "/").replace(" ", "-")
        other = corpora["snips" if data == "atis" else "atis"]
        found["cells"][name] = measure(corpora[data], config, other, place, progress)
        put(given.out, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
    print(markdown(found["cells"]))


def quick(corpora: dict[str, Corpus], progress: Progress) -> None:
    """Every system for two epochs on a few sentences: does all of it run?"""
    few = {name: replace(c, train=c.train[:48], dev=c.dev[:16], test=c.test[:16]) for name, c in corpora.items()}
    cells = {}
    with tempfile.TemporaryDirectory() as work:
        for i, (system, config) in enumerate((SYSTEMS | ABLATIONS).items()):
            config = replace(config, training=replace(config.training, epochs=2))
            cells[f"atis | {system} | 0"] = measure(few["atis"], config, few["snips"], Path(work) / str(i), progress)
    print(markdown(cells))


if __name__ == "__main__":
    main()
