"""Benches for the tests: planted models with the run that a search would leave, and tiny random models of every shape."""

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from cutaway.circuits.behavior import Behavior, Prompts, Segment
from cutaway.circuits.behaviors import behavior_recipe
from cutaway.circuits.circuit import Circuit, CircuitHead
from cutaway.circuits.explore.bench import Bench
from cutaway.circuits.explore.means import measure
from cutaway.circuits.explore.phrase import Prompt, Reader
from cutaway.circuits.explore.question import ABLATED, KEPT, PATCHED, Bounds, Patch, Question
from cutaway.circuits.explore.setup import Setup, set_up
from cutaway.circuits.find import Findings
from cutaway.circuits.write import prompts
from cutaway.core.runs import Run
from cutaway.decoder import Decoder, Site
from cutaway.decoder.planted import plant
from cutaway.decoder.planted.pieces import tokenizer
from decoder.decoders import CONFIGS, decoder

ROLES = ("R1", "R2", "R3")
PIECES = ["[UNK]", "The", *"abcdefghijklmnopq", *(f" {letter}" for letter in "abcdefghijklmnopqr")]
"""A vocabulary of 37 that spells words of the letters a to q, with or without a space in front."""


# --- planted models, with the folder of a run -------------------------------------------------------------------------


def circuit_of(name: str, behavior: Behavior) -> Circuit:
    """The planted heads as a circuit, without anything measured."""
    heads = tuple(CircuitHead(site, role, {}, (), ()) for site, role in sorted(plant(name).heads.items(), key=str))
    about = {"recipe": behavior.recipe, "options": {"n_search": 3}}
    return Circuit(name, behavior.name, behavior.step_names, heads, {"name": "planted"}, about)


def folder_of(folder: Path, name: str, behavior: Behavior, model: Decoder) -> Path:
    """The files of a run folder that the explorer reads."""
    run, findings = Run(folder), object.__new__(Findings)  # of which only the prompts are written
    object.__setattr__(findings, "behavior", behavior)
    run.json("circuit.json", circuit_of(name, behavior).to_dict())
    run.text("prompts.jsonl", prompts(findings, model.tokenizer))
    return folder


def planted_setup(folder: Path, kind: str = "acronyms", seed: int = 0, **options) -> tuple[Setup, Behavior]:
    """A planted model on prompts of its behaviour, set up from a run folder."""
    name = f"planted:{kind}@{seed}"
    model, recipe = plant(name).model, behavior_recipe(kind)
    behavior = recipe.build(model.tokenizer, recipe.config(n=6, seed=seed, **options))
    run = folder_of(folder, name, behavior, model)
    return set_up(run, Circuit.load(run), model), behavior


# --- tiny random models -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiny:
    """A bench on a random model. `texts` are read with roles; other texts are not."""

    bench: Bench
    bounds: Bounds
    texts: tuple[str, ...]


@cache
def tiny(name: str, seed: int = 0) -> Tiny:
    """Prompts of the roles R1 to R3, 1 to 3 tokens each, and means over other such prompts, in which some slots lack."""
    rng, model = random.Random(seed), decoder(name, seed)
    model.tokenizer = tokenizer(PIECES)
    known = {prompt.text: prompt for prompt in (_prompt(rng, model.tokenizer) for _ in range(8))}
    slots = [("R1", 0), ("R1", 1), ("R2", 0), ("R3", 0), ("R3", 1), ("A1", 0)]
    tokens = torch.tensor([[rng.randrange(37) for _ in slots] for _ in range(5)])
    places = torch.arange(len(slots)).expand_as(tokens)
    means = measure(model, Prompts(tokens, places, places[:, -2:]), slots, "random")
    c = model.config
    reader = Reader(model.tokenizer, c.n_ctx, known, ("A1",))
    return Tiny(Bench(model, reader, means), Bounds(c.n_layers, c.n_heads), tuple(known))


def _prompt(rng: random.Random, cutter) -> Prompt:
    """Letters with spaces between, some to each role."""
    counts = [rng.randint(1, 3) for _ in ROLES]
    letters = [rng.choice("abcdefghijklmnopq") for _ in range(sum(counts))]
    ids = cutter.encode(text := "The " + " ".join(letters))
    row, at = [Segment("The", (ids[0],))], 1
    for role, n in zip(ROLES, counts, strict=True):
        row.append(Segment(role, tuple(ids[at : at + n])))
        at += n
    return Prompt(text, text, tuple(row), True, ("A1",))


def random_question(made: Tiny, rng: random.Random) -> Question:
    """Heads in random states, an ablation, and mostly a patch; phrases with roles, or plain ones of the same length."""
    bounds = made.bounds
    signs = rng.choice([KEPT * 4 + ABLATED, KEPT * 4 + PATCHED, KEPT + ABLATED + PATCHED, ABLATED, KEPT])
    heads = tuple("".join(rng.choice(signs) for _ in range(bounds.heads)) for _ in range(bounds.layers))
    if rng.random() < 0.6:
        phrase, second = rng.sample(made.texts, 2)
        places: list[str | int | None] = [None, "R1", "R3", "answer", "The", rng.randrange(4)]
    else:
        n = rng.randint(2, 7)
        phrase, second = ("The " + " ".join(rng.choice("abcdefghij") for _ in range(n)) for _ in range(2))
        places = [None, "answer", rng.randrange(n)]
    site = Site(rng.randrange(bounds.layers), rng.choice(["resid_pre", "mlp_out"]))
    patch = rng.choice([None, Patch(site, rng.choice(places))])
    answer = rng.choice(["", "", " c", " d e", " f g a"]) if phrase in made.texts else ""
    return Question(phrase, answer, second, heads, rng.choice(["role", "mean", "zero", "second"]), patch)


__all__ = ["CONFIGS", "Tiny", "planted_setup", "random_question", "tiny"]
