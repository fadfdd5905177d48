"""Reports to look at: made-up runs of several sizes, one whose every name is hostile, and a real one of a planted model."""

import csv
import json
from pathlib import Path

import cutaway
from circuits.run_folders import Size, make
from cutaway.circuits import report
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.find import Find, find
from cutaway.circuits.write import write
from cutaway.core.runs import Run

SIZES = {
    "small": Size(),
    "plain": Size(letters=False, positional=False),
    "one step": Size(layers=3, heads=4, steps=1, circuit=3, letters=False, positional=False),
    "earlier": Size(extras=False),
    "smollm2": Size(layers=30, heads=9, circuit=24, prompts=20),
}

HOSTILE = """<script>alert("1")</script> & 'quoted' </style></script>--><img src=x onerror=alert(2)> \u202eRTL\u200f עברית 🙂"""
"""Ends elements, runs things, asks for things and turns the direction of writing, wherever it is taken for more than text."""

HOSTILE_PLACES = (
    "onder",
    "letter mover",
    "made:up",
    "current word",
    "copies right answer",
    "C1",
    "letter 2",
    "acronyms",
)
"""A token, a role of a head, the model, a corruption, a name of evidence, a role of tokens, an answer token, the behaviour."""


def reported(folder: Path, name: str) -> Path:
    """Makes the run of this name and its page; returns the path of the page."""
    if name == "planted":
        planted(folder)
    elif name == "hostile":
        poison(make(folder, Size(text=HOSTILE)))
    else:
        make(folder, SIZES[name])
    return report.render(folder)


def planted(folder: Path) -> None:
    """A real run, as small as one can be."""
    model = cutaway.load("planted:acronyms")
    behavior = build(model.tokenizer, Acronyms(n=12))
    write(find(model, behavior, Find(n_sweep=3, n_search=6, n_verify=6, n_random=4)), Run(folder), model.tokenizer)


def poison(folder: Path) -> None:
    """Puts the hostile text in the place of names in every file of a run; the command that made it is hostile too."""
    for path in folder.rglob("*.json*"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        path.write_text("\n".join(json.dumps(poisoned(json.loads(line))) for line in lines))
    for path in folder.rglob("*.csv"):
        with path.open(newline="") as file:
            rows = [[poisoned(cell) for cell in row] for row in csv.reader(file)]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    (folder / "manifest.json").write_text(json.dumps({"command": HOSTILE, "made": HOSTILE, "versions": {HOSTILE: "1"}}))


def poisoned(value):
    """Texts of a JSON value, keys as well."""
    if isinstance(value, dict):
        return {poisoned(key): poisoned(of) for key, of in value.items()}
    if isinstance(value, list):
        return [poisoned(of) for of in value]
    return HOSTILE if value in HOSTILE_PLACES else value
