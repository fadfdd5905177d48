"""What 8 bits cost: scores, size and latency of a joint tagger before and after `cutaway tagging shrink`.

    CUTAWAY_DATA=DATA python benchmarks/tagging_int8.py               on the runs that tagging_joint.py has left
    python benchmarks/tagging_int8.py --table                         the table of docs/tagging.md, from the committed result

The two take turns, sentence by sentence, on one thread, each sentence by itself: from words to intents and spans with
confidences. Run it on a quiet machine.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from tagging_cells import DATA, SEEDS, WORK

from cutaway.core.progress import TerminalProgress
from cutaway.core.runs import manifest, put
from cutaway.tagging.corpus import read_corpus
from cutaway.tagging.evaluate import evaluate
from cutaway.tagging.shrink import shrunk
from cutaway.tagging.store import load

RESULT = Path(__file__).parent / "results" / "tagging-int8.json"
SETS = ("atis", "snips")
SYSTEM = "minilm-l6 + CRF"
SENTENCES = 200
"""Whose time is taken."""


def measure(run: Path, sentences) -> dict:
    """Both taggers of one run."""
    taggers = {"float32": load(run)}
    taggers["int8"] = shrunk(taggers["float32"])
    taken: dict[str, list[float]] = {name: [] for name in taggers}
    for i, sentence in enumerate(sentences[: SENTENCES + 5]):
        for name, tagger in taggers.items():
            started = time.perf_counter()
            tagger.read([sentence])
            if i >= 5:  # the first ones warm up
                taken[name].append(time.perf_counter() - started)
    told = {}
    for name, tagger in taggers.items():
        held = sum(x.numel() * x.element_size() for x in tagger.state_dict().values())
        scores = {key: x for key, x in evaluate(tagger, sentences).to_dict().items() if key != "by_type"}
        told[name] = {"mebibytes": held / 2**20, "milliseconds": 1000 * median(taken[name]), "test": scores}
    told["ratio"] = median(a / b for a, b in zip(taken["float32"], taken["int8"], strict=True))
    return told


def markdown(found: dict[str, dict]) -> str:
    lines = [
        "| data | | intent accuracy | span F1 | frame accuracy | MiB | ms a sentence | times as fast |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for data in SETS:
        if cells := [cell for name, cell in found.items() if name.startswith(f"{data} |")]:
            for kind in ("float32", "int8"):
                some = [cell[kind] for cell in cells]
                scores = [x["test"] for x in some]
                means = (
                    [x["intent_accuracy"]["mean"] for x in scores],
                    [x["spans"]["f1"]["mean"] for x in scores],
                    [x["frame_accuracy"]["mean"] for x in scores],
                )
                three = " | ".join(f"{100 * sum(x) / len(x):.2f}" for x in means)
                size, ms = (sum(x[key] for x in some) / len(some) for key in ("mebibytes", "milliseconds"))
                ratio = f"{sum(c['ratio'] for c in cells) / len(cells):.2f}" if kind == "int8" else ""
                lines.append(f"| {data} | {kind} | {three} | {size:.0f} | {ms:.1f} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--work", type=Path, default=WORK / "tagging-joint", help="where tagging_joint.py keeps its runs"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        return print(markdown(json.loads(given.out.read_text())["cells"]))
    torch.set_num_threads(1)
    progress, found = TerminalProgress(), {}
    for data in SETS:
        sentences = read_corpus(DATA / data).test
        for seed in SEEDS:
            run = given.work / data / SYSTEM.replace(" ", "-") / str(seed)
            if (run / "model").is_dir():
                progress.say(str(run))
                found[f"{data} | {SYSTEM} | {seed}"] = measure(run, sentences)
    about = manifest("benchmarks/tagging_int8.py", sentences=SENTENCES)
    put(given.out, (json.dumps({**about, "cells": found}, indent=1, ensure_ascii=False) + "\n").encode())
    print(markdown(found))


if __name__ == "__main__":
    main()
