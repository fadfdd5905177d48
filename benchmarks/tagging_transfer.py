"""Transfer: ATIS from few sentences, begun with the pretrained encoder alone, or with a run that has learned Snips.

    CUTAWAY_DATA=DATA python benchmarks/tagging_transfer.py           measures; wants a run of tagging_joint.py on Snips
    python benchmarks/tagging_transfer.py --table                     the table of docs/tagging.md, from the committed result

The few are drawn at random, the same for both. The dev set, which chooses the weights, and the test set are the whole ones.
"""

import argparse
import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from tagging_cells import DATA, SEEDS, WORK, over

from cutaway.core.progress import TerminalProgress
from cutaway.core.runs import manifest, put
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import read_corpus
from cutaway.tagging.evaluate import evaluate
from cutaway.tagging.fit import fit

RESULT = Path(__file__).parent / "results" / "tagging-transfer.json"
SIZES = (100, 400)
WAYS = ("the encoder alone", "a run on Snips")
CONFIG = Config(decoder="crf", options={"encoder.sentence": "mean"})
SCORES = (("intent_accuracy",), ("spans", "f1"), ("frame_accuracy",))


def markdown(found: dict[str, list[dict]]) -> str:
    lines = ["| sentences | begun with | intent accuracy | span F1 | frame accuracy |", "|---|---|---|---|---|"]
    for size in SIZES:
        for way in WAYS:
            some = found[f"{size} | {way}"]
            lines.append(f"| {size} | {way} | {' | '.join(over(some, *path) for path in SCORES)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snips", type=Path, default=WORK / "tagging-joint" / "snips" / "minilm-l6-+-CRF" / "0")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        return print(markdown(json.loads(given.out.read_text())["cells"]))
    torch.set_num_threads(given.threads)
    corpus, progress = read_corpus(DATA / "atis"), TerminalProgress()
    found: dict[str, list[dict]] = {f"{size} | {way}": [] for size in SIZES for way in WAYS}
    for seed in SEEDS:
        for size in SIZES:
            few = replace(corpus, train=tuple(random.Random(seed).sample(corpus.train, size)))
            for way, start in zip(WAYS, ("", str(given.snips)), strict=True):
                config = replace(CONFIG, start=start, training=replace(CONFIG.training, seed=seed))
                with tempfile.TemporaryDirectory() as folder:
                    scores = evaluate(fit(config, few, folder).model, corpus.test).to_dict()
                found[f"{size} | {way}"].append(
                    {name: scores[name] for name in ("intent_accuracy", "spans", "frame_accuracy")}
                )
                progress.say(f"{size} sentences, {way}, seed {seed}: span F1 {scores['spans']['f1']['mean']:.3f}")
    about = manifest("benchmarks/tagging_transfer.py", seeds=SEEDS, data_sha256=corpus.sha256)
    put(given.out, (json.dumps({**about, "cells": found}, indent=1) + "\n").encode())
    print(markdown(found))


if __name__ == "__main__":
    main()
