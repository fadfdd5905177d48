"""Small made-up data sets, one of each kind, that can be learned in seconds; and their files."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from cutaway.tuning.corpus import Corpus
from cutaway.tuning.data import Example

WORDS = ("the", "a", "small", "old", "river", "house", "runs", "sleeps", "under", "bright", "stone", "bird")
GOOD, BAD = "lovely", "dreadful"
"""The one word that decides a label."""
RHYMES = {"cat": "hat", "dog": "fog", "bee": "sea", "mouse": "house"}
"""What is to be written after "NAME says:"."""


def label_example(rng: random.Random) -> Example:
    """A sentence with a good word or a bad one, which is its label."""
    words = rng.choices(WORDS, k=rng.randint(3, 6))
    good = rng.random() < 0.5
    words.insert(rng.randint(0, len(words)), GOOD if good else BAD)
    return Example(" ".join(words), None, "1" if good else "0")


def score_example(rng: random.Random) -> Example:
    """Two sentences of four words; the score is the number of words that they share, the other's order aside."""
    first, shared = rng.sample(WORDS, 4), rng.randint(0, 4)
    others = rng.sample([word for word in WORDS if word not in first], 4 - shared)
    second = [*rng.sample(first, shared), *others]
    rng.shuffle(second)
    return Example(" ".join(first), " ".join(second), float(shared))


def text_example(rng: random.Random) -> Example:
    """A prompt with a name in it, and the word that rhymes with it."""
    name = rng.choice(sorted(RHYMES))
    return Example(f"{rng.choice(WORDS)} {name} says:", None, f" {RHYMES[name]}")


MAKERS = {"labels": label_example, "scores": score_example, "text": text_example}


def corpus(kind: str = "labels", train: int = 120, dev: int = 40, test: int = 40, *, seed: int = 0) -> Corpus:
    """Examples to train, choose and test on."""
    rng = random.Random(seed)
    return Corpus.of("made-up", kind, *[[MAKERS[kind](rng) for _ in range(n)] for n in (train, dev, test)])


def written(made: Corpus, folder: Path) -> Path:
    """The corpus as a folder: labels in tables, scores and texts in JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "dev", "test"):
        examples = getattr(made, part)
        if examples and made.kind == "labels":
            (folder / f"{part}.tsv").write_text(table(examples))
        elif examples:
            (folder / f"{part}.jsonl").write_text(json_lines(examples, made.kind))
    return folder


def table(examples: Sequence[Example]) -> str:
    """Columns between tabs, of labels."""
    pairs = any(e.pair is not None for e in examples)
    rows = [("sentence1", *["sentence2"] * pairs, "label"), *((e.text, *[e.pair] * pairs, e.answer) for e in examples)]
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def json_lines(examples: Sequence[Example], kind: str) -> str:
    """An object a line; answers that are not known are left out."""
    key = {"labels": "label", "scores": "score", "text": "target"}[kind]
    told = [{"text": e.text, "pair": e.pair, key: e.answer} for e in examples]
    return "".join(json.dumps({name: x for name, x in each.items() if x is not None}) + "\n" for each in told)
