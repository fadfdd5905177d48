"""A planted circuit for indirect objects (after Wang et al. 2022, arXiv 2211.00593): `Mary and John … John … to` → Mary.

    … IO  and  S1 …  S2 …  to
                     │     │   duplicate-token head, at S2: is this name there already? Note it
                     └────►│   inhibition head, at `to`: fetch the name so noted
        └─────────────────►│   name movers, at `to`: copy a name, but not that one

docs/planted.md has the equations.
"""

import random

import torch

from cutaway.decoder.planted.build import place_heads
from cutaway.decoder.planted.pieces import UNKNOWN, tokenizer
from cutaway.decoder.planted.record import Circuit, Plan
from cutaway.decoder.planted.weights import CYCLE, Head, Stream, position_table, shares

NAMES = (
    "Adam", "Alice", "Anna", "Carl", "Clara", "Daniel", "David", "Emma", "Frank", "Grace", "Helen", "Henry", "Jack", "Jane",
    "John", "Julia", "Kate", "Laura", "Mark", "Mary", "Peter", "Rose", "Sarah", "Thomas",
)  # fmt: skip
MATCH = 30.0
"""Attention score of a name said before, and of the place where that was noted; the first token has half of it."""


def plan(rng: random.Random) -> Plan:
    n_layers, n_heads, movers = rng.randint(4, 7), rng.randint(4, 9), rng.randint(2, 3)
    vocabulary, names = [UNKNOWN, " to", *(f" {name}" for name in NAMES)], len(NAMES)
    stream = Stream(
        rng,
        name=names,
        to=1,
        one=1,
        place=CYCLE,
        first=1,
        twice=names,  # the name that stands here stood somewhere before
        block=names,  # the name not to say
        answer=names,
        junk=rng.randint(16, 48),
    )
    duplicate_site, inhibition_site, last = place_heads(rng, n_layers, n_heads, [1, 1, movers])
    sharpness, gain = rng.uniform(14, 20), rng.uniform(4, 6)
    heads = {duplicate_site[0]: duplicate(stream), inhibition_site[0]: inhibition(stream)}
    heads |= {site: mover(stream, sharpness, gain * part) for site, part in zip(last, shares(rng, movers), strict=True)}
    spelled = torch.cat([torch.zeros(2, names), torch.eye(names)]).double()
    embed = spelled @ stream["name"].T + stream["one"].T
    embed[1] += stream["to"][:, 0]
    return Plan(
        tokenizer=tokenizer(vocabulary),
        stream=stream,
        embed=embed,
        positions=position_table(stream),
        unembed=spelled @ stream["answer"].T,
        content="name",
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=names + CYCLE + 1,
        heads=heads,
        decoys=("twin", "first token", "noise", "even", "late"),
    )


def duplicate(stream: Stream) -> Head:
    """From a name to the same name before it, which it notes; a name that is new, and all else, rests on the first token."""
    return Head(
        "duplicate-token",
        query=MATCH * torch.cat([stream["name"], -2 * stream["place"], stream["one"] / 2], dim=1),
        key=torch.cat([stream["name"], stream["place"], stream["first"]], dim=1),
        value=stream["name"],
        out=stream["twice"].T,
    )


def inhibition(stream: Stream) -> Head:
    """From `to` to the name that stood before, which it fetches as one not to say."""
    any_name = torch.ones(stream["twice"].shape[1], 1).double()
    return Head(
        "inhibition",
        query=MATCH * torch.cat([stream["to"], stream["one"] / 2], dim=1),
        key=torch.cat([stream["twice"] @ any_name, stream["first"]], dim=1),
        value=stream["twice"],
        out=stream["block"].T,
    )


def mover(stream: Stream, sharpness: float, strength: float) -> Head:
    """From `to` to every name that is not blocked; it copies the name to the answer."""
    any_name = torch.ones(stream["name"].shape[1], 1).double()
    return Head(
        "name mover",
        query=sharpness * torch.cat([stream["to"], -2 * stream["block"]], dim=1),
        key=torch.cat([stream["name"] @ any_name, stream["name"]], dim=1),
        value=stream["name"],
        out=strength * stream["answer"].T,
    )


CIRCUITS = (Circuit("ioi", "one duplicate-token head, one inhibition head and two or three name movers", plan),)
