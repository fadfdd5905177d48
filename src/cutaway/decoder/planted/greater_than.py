"""A planted circuit for greater-than (after Hanna et al. 2023, arXiv 2305.00586): `from the year 1732 to the year 17` → 33 to 99.

Heads carry the start year to the end of the prompt; what they carry reaches the logits through one MLP alone, whose hidden
unit for a year is on if the start year is smaller. Two or three heads share the work.
"""

import random

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.decoder.planted.build import place_heads
from cutaway.decoder.planted.pieces import UNKNOWN, tokenizer
from cutaway.decoder.planted.record import Circuit, Plan
from cutaway.decoder.planted.weights import CYCLE, Head, Stream, position_table, shares

YEARS = 100
CENTURIES = tuple(f" {century}" for century in range(11, 18))
MATCH = 30.0
"""Attention score of a year; the first token has half of it."""


def plan(rng: random.Random) -> Plan:
    n_layers, n_heads, movers = rng.randint(2, 5), rng.randint(3, 7), rng.randint(2, 3)
    vocabulary = [UNKNOWN, *CENTURIES, *(f"{year:02d}" for year in range(YEARS))]
    stream = Stream(
        rng,
        year=YEARS,
        century=1,
        one=1,
        place=CYCLE,
        first=1,
        start=YEARS,  # the year that the span began in
        answer=YEARS,
        junk=rng.randint(16, 48),
    )
    (sites,) = place_heads(rng, n_layers, n_heads, [movers])
    heads = {site: mover(stream, share) for site, share in zip(sites, shares(rng, movers), strict=True)}
    spelled = torch.cat([torch.zeros(1 + len(CENTURIES), YEARS), torch.eye(YEARS)]).double()
    embed = spelled @ stream["year"].T + stream["one"].T
    embed[1 : 1 + len(CENTURIES)] += stream["century"].T
    return Plan(
        tokenizer=tokenizer(vocabulary),
        stream=stream,
        embed=embed,
        positions=position_table(stream),
        unembed=spelled @ stream["answer"].T,
        content="year",
        n_layers=n_layers,
        n_heads=n_heads,
        d_head=YEARS,
        heads=heads,
        decoys=("twin", "first token", "noise", "even"),
        mlps={n_layers - 1: above(stream, rng.uniform(4, 6))},
    )


def mover(stream: Stream, share: float) -> Head:
    """From a century to the year in front of it, which it carries along; where there is none, to the first token."""
    any_year = torch.ones(YEARS, 1).double()
    return Head(
        "year mover",
        query=MATCH * torch.cat([stream["century"], stream["one"] / 2], dim=1),
        key=torch.cat([stream["year"] @ any_year, stream["first"]], dim=1),
        value=stream["year"],
        out=share * stream["start"].T,
    )


def above(stream: Stream, gain: float) -> tuple[Float[Tensor, "d_model d_mlp"], Float[Tensor, "d_mlp d_model"]]:
    """The MLP: unit j is on if the start year is below j, and lifts year j."""
    smaller = torch.ones(YEARS, YEARS).double().triu(1)
    return stream["start"] @ smaller, gain * stream["answer"].T


CIRCUITS = (
    Circuit("greater_than", "two or three heads that carry the start year to an MLP, which lifts all later ones", plan),
)
