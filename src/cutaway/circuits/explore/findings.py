"""What the bench answers: plain records, which go to the page as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.decoder.tokens import Tokenizer

SHOWN = 8
"""Tokens shown at each step, the likeliest first."""


@dataclass(frozen=True)
class Token:
    """One token as it was cut, with the role that it plays (none: `""`)."""

    text: str
    id: int
    role: str


@dataclass(frozen=True)
class Likely:
    text: str
    probability: float


@dataclass(frozen=True)
class Saying:
    """What one run says at one step: the likeliest tokens, and probability and rank of the token asked for."""

    top: tuple[Likely, ...]
    probability: float
    rank: int


@dataclass(frozen=True)
class Step:
    """One token of the answer: the one asked for, and what is said there with nothing changed and with the changes."""

    token: str
    before: Saying
    after: Saying


@dataclass(frozen=True)
class Read:
    """A phrase as the model reads it, and its answer. `expected` is what the behaviour asks for, if it says so."""

    phrase: str
    tokens: tuple[Token, ...]
    answer: str
    given: bool
    expected: str | None


@dataclass(frozen=True)
class Answer:
    """The answer to a question. `second` is the second phrase, `trouble` what is wrong with it where nothing needs it."""

    read: Read
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    second: Read | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Sweep:
    """Effect of every head, patched from the second phrase by itself, on the logit difference: `[step, layer, head]`.

    `before` is the logit difference at each step with nothing patched, `rivals` what the token asked for competes with.
    """

    tokens: tuple[str, ...]
    effects: list[list[list[float]]]
    before: tuple[float, ...]
    rivals: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Pattern:
    """Attention of one head, `[query, key]`, with nothing changed and with the changes (None if there are none)."""

    head: str
    tokens: tuple[Token, ...]
    before: list[list[float]]
    after: list[list[float]] | None


def sayings(logits: Float[Tensor, "step vocab"], answer: Sequence[int], tokenizer: Tokenizer) -> tuple[Saying, ...]:
    """What a run says, step by step."""
    probabilities = logits.softmax(-1)
    asked = torch.tensor(list(answer), device=logits.device)[:, None]
    own = probabilities.gather(1, asked)
    ranks = 1 + (logits > logits.gather(1, asked)).sum(1)
    top, ids = likeliest(probabilities)
    return tuple(
        Saying(
            tuple(Likely(tokenizer.shown(i), round(p, 5)) for i, p in zip(some, ps, strict=True)), round(mine, 5), rank
        )
        for some, ps, mine, rank in zip(ids.tolist(), top.tolist(), own[:, 0].tolist(), ranks.tolist(), strict=True)
    )


def likeliest(x: Float[Tensor, "step vocab"]) -> torch.return_types.topk:
    """The largest logits, or probabilities, of each step and whose they are."""
    return x.topk(min(SHOWN, x.shape[-1]), dim=-1)
