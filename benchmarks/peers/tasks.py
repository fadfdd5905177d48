"""The models, prompts and grids that every system is given. The peers get arrays; cutaway gets the behaviours themselves.

Prompts are of the acronym paper's kind, 11 tokens in its layout: BOS The C1 T1 C2 T2 C3 T3 ( A1 A2.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from protocol import Task

from cutaway.circuits.behavior import ANSWER, Behavior, Corruption, Sample, Segment, Variant, assemble
from cutaway.circuits.behaviors.acronyms import CORRUPTIONS, Acronyms, build
from cutaway.decoder.catalog import locate
from cutaway.decoder.load import load_tokenizer

SEED = 0
MODELS = ("gpt2-shape", "smollm2-135m")
ROLES = ("BOS", "The", "C1", "T1", "C2", "T2", "C3", "T3", "(", "A1", "A2")
LETTERS = range(32, 58)
"""GPT-2's tokens A to Z."""
WORDS = range(1000, 50000)
"""Token ids that stand for parts of words, in the model with random weights."""


@dataclass(frozen=True)
class Grid:
    """Sweeps that are timed together, each a corruption and the roles at which every head is patched (None: everywhere)."""

    name: str
    about: str
    sweeps: tuple[tuple[str, tuple[str | None, ...]], ...]
    target: float
    """How many times as fast as the fastest peer cutaway is meant to be."""


GRIDS = (
    Grid("corrupted completely", "all heads at all positions, three letters", (("everything", (None,)),), 4),
    Grid("current word", "all heads at all positions, one run a letter", (("current word", (None,)),), 6),
    Grid(
        "answer position",
        "all heads at the position that predicts the letter, one run a letter",
        (("everything, letter by letter", (ANSWER,)),),
        30,
    ),
    Grid(
        "heads × positions",
        "all heads at each position, current word, one run a letter",
        (("current word", ROLES),),
        20,
    ),
)


def folder_of(model: str, cache: Path) -> Path:
    """The checkpoint that every system loads."""
    return gpt2_shape(cache) if model == "gpt2-shape" else locate(model)


def gpt2_shape(cache: Path) -> Path:
    """GPT-2 small's shape with random weights, made once: wide enough that patching a head changes the logits by tenths."""
    folder = cache / f"gpt2-shape-seed{SEED}"
    if not (folder / "model.safetensors").exists():
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(SEED)
        GPT2LMHeadModel(GPT2Config(initializer_range=0.05)).save_pretrained(folder)
    return folder


def behavior_of(model: str, folder: Path, n: int) -> Behavior:
    """n prompts, with the corruptions of the acronym behaviour and `everything` once more, one run a letter."""
    made = random_acronyms(n) if model == "gpt2-shape" else spelled_acronyms(folder, n)
    if made.roles != ROLES or len(made.slots) != len(ROLES):
        raise ValueError(f"the prompts of {model} have the roles {made.roles}, a token each is wanted of {ROLES}")
    everything = made.corruptions["everything"].runs[0][1]
    runs = tuple(((i,), everything) for i in range(3))
    alone = Corruption("everything, letter by letter", "all words and letters are others, one run a letter", runs)
    return replace(made, corruptions=made.corruptions | {alone.name: alone})


def spelled_acronyms(folder: Path, n: int) -> Behavior:
    """Real prompts: words of two tokens, no worked example, <|endoftext|> in front."""
    config = Acronyms(n=n, example="", word_tokens=(2, 2), bos=0, seed=SEED)
    return build(load_tokenizer(folder), config)


def random_acronyms(n: int) -> Behavior:
    """Random tokens in the same layout."""
    rng = random.Random(SEED)
    return assemble(
        "random acronyms",
        [random_sample(rng, i) for i in range(n)],
        about="tokens drawn at random, laid out as acronyms",
        corruptions={name: CORRUPTIONS[name] for name in ("current word", "everything")},
        reference="everything",
        recipe={"seed": SEED},
    )


def random_sample(rng: random.Random, number: int) -> Sample:
    drawn = rng.sample(WORDS, 12)
    words, others = [drawn[i : i + 2] for i in (0, 2, 4)], [drawn[i : i + 2] for i in (6, 8, 10)]
    six = rng.sample(LETTERS, 6)
    letters, wrong = six[:3], six[3:]

    def row(changed_words=(), changed_letters=()) -> tuple[Segment, ...]:
        said = [others[i] if i in changed_words else words[i] for i in range(3)]
        written = [wrong[i] if i in changed_letters else letters[i] for i in range(2)]
        ids = [50256, 464, *(token for word in said for token in word), 357, *written]
        return tuple(Segment(role, (token,)) for role, token in zip(ROLES, ids, strict=True))

    corrupted = {
        "current word": tuple(Variant((i,), row({i})) for i in range(3)),
        "everything": (Variant((0, 1, 2), row(range(3), range(2))),),
    }
    rivals = tuple(tuple(i for i in LETTERS if i != letter) for letter in letters)
    return Sample(f"prompt {number}", row(), tuple(letters), rivals, corrupted)


def runs(behavior: Behavior, grid: Grid) -> Iterator[tuple[int, tuple[int, ...], Task, list[int]]]:
    """Each corrupted batch of a grid: its sweep, the answer steps it is about, its arrays, its positions (−1: all at once)."""
    clean = behavior.clean
    for i, (corruption, roles) in enumerate(grid.sweeps):
        for steps, corrupt in behavior.corruptions[corruption].runs:
            at = list(steps)
            task = Task(
                clean.tokens, corrupt.tokens, clean.steps[0, at], behavior.answers[:, at], behavior.alternatives[:, at]
            )
            at = {None: -1, ANSWER: int(clean.steps[0, steps[0]])} | {role: p for p, role in enumerate(ROLES)}
            yield i, tuple(steps), task, [at[role] for role in roles]
