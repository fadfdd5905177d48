"""Distractors: heads that look busy. Whatever they attend to and read, no answer is better or worse for what they write."""

import random
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.decoder.planted.record import Plan
from cutaway.decoder.planted.weights import Head, normal
from cutaway.decoder.sites import Site


def twin(plan: Plan, site: Site, rng: random.Random) -> Head:
    """Attends exactly as a planted head would in its place, and reads the same: only what it writes is worthless."""
    model = rng.choice(list(plan.heads.values()))
    return Head("twin", model.query, model.key, model.value, _junk(plan, rng, model.value.shape[1]))


def first_token(plan: Plan, site: Site, rng: random.Random) -> Head:
    """Rests on the first token, as idle heads of trained models do."""
    content = plan.stream[plan.content]
    return Head(
        "first token",
        query=8 * plan.stream["one"],
        key=plan.stream["first"],
        value=content,
        out=_junk(plan, rng, content.shape[1]),
    )


def noise(plan: Plan, site: Site, rng: random.Random) -> Head:
    """Random queries, keys and values of everything in the stream."""
    d_model, d_head = plan.stream.d_model, plan.d_head
    query, key, value = (normal(rng, d_model, d_head) / d_model**0.5 for _ in range(3))
    return Head("noise", query, key / d_head**0.5, value, _junk(plan, rng, d_head))


def even(plan: Plan, site: Site, rng: random.Random) -> Head:
    """Looks around at random and lifts all answers alike: it writes to the logits, and none gains on another."""
    answers = plan.stream["answer"]
    query, key = (normal(rng, plan.stream.d_model, 8) / plan.stream.d_model**0.5 for _ in range(2))
    lift = rng.uniform(0.5, 2) * answers.sum(1, keepdim=True).T
    return Head("even", query, key, value=plan.stream["one"], out=lift)


def late(plan: Plan, site: Site, rng: random.Random) -> Head:
    """An exact copy of a planted head that prepares something, standing where nobody reads it any more.

    Where that cannot be, before the last planted head or beside a planted MLP, or in a circuit without preparation: a twin.
    """
    last = max(planted.layer for planted in plan.heads)
    answers = plan.stream["answer"]
    early = [head for head in plan.heads.values() if torch.count_nonzero((head.out @ answers).abs() > 1e-9) == 0]
    if site.layer < last or plan.mlps or not early:
        return twin(plan, site, rng)
    model = rng.choice(early)
    return Head("late", model.query, model.key, model.value, model.out)


KINDS: dict[str, Callable[[Plan, Site, random.Random], Head]] = {
    "twin": twin,
    "first token": first_token,
    "noise": noise,
    "even": even,
    "late": late,
}


def decoy(plan: Plan, site: Site, rng: random.Random) -> Head:
    return KINDS[rng.choice(plan.decoys)](plan, site, rng)


def _junk(plan: Plan, rng: random.Random, width: int) -> Float[Tensor, "width d_model"]:
    junk = plan.stream["junk"]
    return normal(rng, width, junk.shape[1]) / width**0.5 @ junk.T
