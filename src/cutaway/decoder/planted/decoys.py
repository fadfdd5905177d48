"""Distractors: heads that look busy. Whatever they attend to and read, they write into directions that nobody reads."""

import random
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from cutaway.decoder.planted.record import Plan
from cutaway.decoder.planted.weights import Head, normal


def twin(plan: Plan, rng: random.Random) -> Head:
    """Attends exactly as a planted head would in its place, and reads the same: only what it writes is worthless."""
    model = rng.choice(list(plan.heads.values()))
    return Head("twin", model.query, model.key, model.value, _junk(plan, rng, model.value.shape[1]))


def first_token(plan: Plan, rng: random.Random) -> Head:
    """Rests on the first token, as idle heads of trained models do."""
    content = plan.stream[plan.content]
    return Head(
        "first token",
        query=8 * plan.stream["one"],
        key=plan.stream["first"],
        value=content,
        out=_junk(plan, rng, content.shape[1]),
    )


def noise(plan: Plan, rng: random.Random) -> Head:
    """Random queries, keys and values of everything in the stream."""
    d_model, d_head = plan.stream.d_model, plan.d_head
    query, key, value = (normal(rng, d_model, d_head) / d_model**0.5 for _ in range(3))
    return Head("noise", query, key / d_head**0.5, value, _junk(plan, rng, d_head))


KINDS: tuple[Callable[[Plan, random.Random], Head], ...] = (twin, first_token, noise)


def decoy(plan: Plan, rng: random.Random) -> Head:
    return rng.choice(KINDS)(plan, rng)


def _junk(plan: Plan, rng: random.Random, width: int) -> Float[Tensor, "width d_model"]:
    junk = plan.stream["junk"]
    return normal(rng, width, junk.shape[1]) / width**0.5 @ junk.T
