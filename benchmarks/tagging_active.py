"""Active learning on ATIS: which sentences to label next, the least sure ones or any?

    CUTAWAY_DATA=DATA python benchmarks/tagging_active.py             measures, a few minutes
    python benchmarks/tagging_active.py --table                       the table of docs/tagging.md, from the committed result

A BiLSTM-CRF without pretraining begins with 100 labelled sentences, the same for both ways; each round 100 more are labelled
out of the rest of the training set, those of which the tagger is least sure or any at random, and a new tagger is trained. The
dev set, which chooses the weights, and the test set are the whole ones.
"""

import argparse
import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from tagging_cells import DATA, SEEDS

from cutaway.core.estimates import OverSeeds
from cutaway.core.progress import TerminalProgress
from cutaway.core.runs import manifest, put
from cutaway.tagging.active import next_to_label
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import Corpus, read_corpus
from cutaway.tagging.evaluate import evaluate
from cutaway.tagging.fit import fit
from cutaway.tagging.model import Tagger

RESULT = Path(__file__).parent / "results" / "tagging-active.json"
WAYS = ("least sure", "at random")
ROUNDS, STEP = 6, 100
CONFIG = Config(
    inputs=("words", "char_cnn"), context="bilstm", decoder="crf", dropout=0.3, fresh_lr=1.0,
    training=replace(Config().training, epochs=25, lr=4e-3, batch=16, patience=6),
)  # fmt: skip


def chosen(way: str, tagger: Tagger, rest: list[int], corpus: Corpus, rng: random.Random) -> set[int]:
    """The sentences to label next, as places in the training set."""
    if way == "at random":
        return set(rng.sample(rest, STEP))
    return {rest[place] for place, _, _ in next_to_label(tagger, [corpus.train[i] for i in rest], STEP)}


def curve(way: str, corpus: Corpus, seed: int, progress: TerminalProgress) -> list[dict]:
    """Scores on test after each round."""
    rng, told = random.Random(seed), []
    config = replace(CONFIG, training=replace(CONFIG.training, seed=seed))
    labelled = set(rng.sample(range(len(corpus.train)), STEP))
    for _ in range(ROUNDS):
        some = replace(corpus, train=tuple(corpus.train[i] for i in sorted(labelled)))
        with tempfile.TemporaryDirectory() as folder:
            tagger = fit(config, some, folder).model
        scores = evaluate(tagger, corpus.test).to_dict()
        told.append({"sentences": len(labelled), **{x: scores[x] for x in ("intent_accuracy", "frame_accuracy")}})
        told[-1]["span_f1"] = scores["spans"]["f1"]
        progress.say(f"{way}, seed {seed}, {len(labelled)} sentences: span F1 {told[-1]['span_f1']['mean']:.3f}")
        rest = [i for i in range(len(corpus.train)) if i not in labelled]
        labelled |= chosen(way, tagger, rest, corpus, rng)
    return told


def markdown(found: dict) -> str:
    """Mean ± standard deviation over seeds."""
    lines = ["| sentences | " + " | ".join(f"span F1, {way} | frames, {way}" for way in WAYS) + " |", "|---" * 5 + "|"]
    for i in range(ROUNDS):
        row = [str(found[WAYS[0]][0][i]["sentences"])]
        for way in WAYS:
            for score in ("span_f1", "frame_accuracy"):
                told = OverSeeds.of([100 * each[i][score]["mean"] for each in found[way]])
                row.append(f"{told.mean:.1f} ± {told.sd:.1f}")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        return print(markdown(json.loads(given.out.read_text())["curves"]))
    torch.set_num_threads(given.threads)
    corpus, progress = read_corpus(DATA / "atis"), TerminalProgress()
    found = {way: [curve(way, corpus, seed, progress) for seed in SEEDS] for way in WAYS}
    about = manifest("benchmarks/tagging_active.py", seeds=SEEDS, data_sha256=corpus.sha256)
    put(given.out, (json.dumps({**about, "curves": found}, indent=1, ensure_ascii=False) + "\n").encode())
    print(markdown(found))


if __name__ == "__main__":
    main()
