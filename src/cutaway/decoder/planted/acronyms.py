"""A planted circuit that writes initials, after the story told of GPT-2 (García-Carrasco et al. 2024, §4).

    The C1 T1 C2 T2 C3 T3 ( A1 A2

1. A previous-token head tells T1 the letter of C1; a second one, later, tells the third token of a longer word.
2. At A1 a positional head looks for the last token of the word whose letter was just written, and reads where it
   stands. At the bracket, where nothing is written yet, it looks for `The`.
3. Letter movers look one token further, at C2, and copy its letter to the output. Two or three share the work.

docs/planted.md has the equations.
"""

import random
from string import ascii_uppercase

import torch

from cutaway.decoder.planted.build import place_heads
from cutaway.decoder.planted.pieces import acronym_vocabulary, tokenizer
from cutaway.decoder.planted.record import Circuit, Plan
from cutaway.decoder.planted.weights import (
    CYCLE,
    POSITIONS,
    Head,
    Stream,
    position_table,
    previous_token,
    shares,
    step_on,
)

LETTERS = len(ascii_uppercase)
MATCH = 60.0
"""Attention score of a letter that fits, and of being a word's tail: above all that lying later earns in a prompt."""
RECENT = 3.0
"""Score per token of lying later: of two words with that letter, one in a worked example, the later one is meant."""
LONGER = 12.0
"""Score that puts the third token of a word above its second."""
BRAKE = 0.06
"""Part of the answer's logit that a negative head takes away."""


def plan(rng: random.Random, negative: bool = False) -> Plan:
    n_layers, n_heads, movers = rng.randint(4, 6), rng.randint(4, 8), rng.randint(2, 3)
    stream = Stream(
        rng,
        letter=LETTERS,  # the letter that the word starting here has
        behind=LETTERS,  # the letter of the token before, if that starts a word
        further=LETTERS,  # the letter of the token two before
        written=LETTERS + 1,  # which letter of the acronym stands here, or the bracket
        tail=1,  # the token continues a word
        the=1,
        one=1,
        place=CYCLE,
        first=1,
        depth=1,  # tokens from the start, as part of the longest text
        target=CYCLE,  # the code of the position to copy from
        answer=LETTERS,
        junk=24,
    )
    first, second, middle, last = place_heads(rng, n_layers, n_heads, [1, 1, 1, movers + negative])
    sharpness, gain = rng.uniform(14, 20), rng.uniform(4, 6)
    heads = {
        first[0]: previous_token(stream, sharpness, "letter", "behind"),
        second[0]: previous_token(stream, sharpness, "behind", "further"),
        middle[0]: positional(stream),
    }
    parts = [("letter mover", share) for share in shares(rng, movers)] + [("negative", -BRAKE)] * negative
    for site, (role, share) in zip(last, parts, strict=True):
        heads[site] = mover(stream, role, sharpness, gain * share)
    vocabulary = acronym_vocabulary()
    return Plan(
        tokenizer=tokenizer(vocabulary),
        stream=stream,
        embed=embedding(vocabulary, stream),
        positions=position_table(stream) + torch.arange(POSITIONS).double()[:, None] / POSITIONS @ stream["depth"].T,
        unembed=unembedding(vocabulary, stream),
        content="letter",
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=CYCLE,
        heads=heads,
    )


def positional(stream: Stream) -> Head:
    """From the letter just written to the last token of its word (the bracket: to `The`), the latest if several fit.

    It writes the place after the one it attends to: that is where the next word starts.
    """
    letter = torch.eye(LETTERS + 1, LETTERS).double()
    bracket = torch.eye(LETTERS + 1).double()[:, -1:]
    any_letter = 1 - bracket
    asks = torch.cat([letter, any_letter, 2 * bracket, RECENT * POSITIONS / MATCH * (any_letter + bracket)], dim=1)
    letter_before = stream["behind"] + (1 + LONGER / MATCH) * stream["further"]
    return Head(
        "positional",
        query=MATCH * stream["written"] @ asks,
        key=torch.cat([letter_before, stream["tail"], stream["the"], stream["depth"]], dim=1),
        value=stream["place"],
        out=step_on() @ stream["target"].T,
    )


def mover(stream: Stream, role: str, sharpness: float, strength: float) -> Head:
    """Attends to the place that the positional head named and copies the letter there to the answer."""
    return Head(
        role,
        query=sharpness * stream["target"],
        key=stream["place"],
        value=stream["letter"],
        out=strength * stream["answer"].T,
    )


def embedding(vocabulary: list[str], stream: Stream) -> torch.Tensor:
    letters = {letter: i for i, letter in enumerate(ascii_uppercase)}
    rows = stream["one"].T.repeat(len(vocabulary), 1)
    for row, piece in zip(rows, vocabulary, strict=True):
        if piece in letters:
            row += stream["written"][:, letters[piece]]
        elif piece == " (":
            row += stream["written"][:, LETTERS]
        elif piece == "The":
            row += stream["the"][:, 0]
        elif piece[1:] in letters:
            row += stream["letter"][:, letters[piece[1:]]]
        elif piece.isalpha():
            row += stream["tail"][:, 0]
    return rows


def unembedding(vocabulary: list[str], stream: Stream) -> torch.Tensor:
    """Letters are read from `answer`; every other token has logit 0."""
    rows = torch.zeros(len(vocabulary), stream.d_model).double()
    for i, letter in enumerate(ascii_uppercase):
        rows[vocabulary.index(letter)] = stream["answer"][:, i]
    return rows


CIRCUITS = (
    Circuit("acronyms", "two previous-token heads, one positional head and two or three letter movers", plan),
    Circuit(
        "acronyms-negative",
        "the acronym circuit and one head that takes a little of the answer away again",
        lambda rng: plan(rng, negative=True),
    ),
)
