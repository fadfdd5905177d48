"""What a hand-made decoder is written with: named subspaces of the residual stream, and heads that join them.

Everything is float64 here; the finished model is rounded once.
"""

import random
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CYCLE = 32
"""Width of a position's code. Codes repeat with the opposite sign after as many tokens."""
POSITIONS = 2 * CYCLE
"""Tokens that a planted decoder can read."""


def normal(rng: random.Random, *shape: int) -> Tensor:
    """Standard normal numbers that depend on `rng` alone."""
    generator = torch.Generator().manual_seed(rng.getrandbits(60))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def orthonormal(rng: random.Random, rows: int, columns: int) -> Float[Tensor, "rows columns"]:
    """A random matrix whose shorter side is orthonormal."""
    tall = torch.linalg.qr(normal(rng, max(rows, columns), min(rows, columns)))[0]
    return tall if rows >= columns else tall.T


class Stream:
    """Orthogonal subspaces of the residual stream, by name, under one random rotation.

    `stream["letter"]` is `[d_model, size]` with orthonormal columns: `x @ stream["letter"]` reads the subspace and
    `code @ stream["letter"].T` writes it.
    """

    def __init__(self, rng: random.Random, **sizes: int):
        self.d_model = sum(sizes.values())
        bases = orthonormal(rng, self.d_model, self.d_model).split(list(sizes.values()), dim=1)
        self._bases = dict(zip(sizes, bases, strict=True))

    def __getitem__(self, name: str) -> Float[Tensor, "d_model size"]:
        return self._bases[name]


@dataclass(frozen=True)
class Head:
    """One head: score = (x_query·query)·(x_key·key), and it writes (x_key·value)·out, weighted by its attention."""

    role: str
    query: Float[Tensor, "d_model rank"]
    key: Float[Tensor, "d_model rank"]
    value: Float[Tensor, "d_model width"]
    out: Float[Tensor, "width d_model"]


def place_codes() -> Float[Tensor, "pos code"]:
    """The code of every position: orthonormal within `CYCLE` tokens, then the same with the other sign."""
    return torch.cat([torch.eye(CYCLE), -torch.eye(CYCLE)]).double()


def step_on() -> Float[Tensor, "code code"]:
    """`code(p) @ step_on() = code(p + 1)`: a cyclic shift that changes sign once round. Its transpose steps back."""
    shift = torch.eye(CYCLE).double().roll(1, dims=1)
    shift[-1, 0] = -1
    return shift


def position_table(stream: Stream) -> Float[Tensor, "pos d_model"]:
    """Every position's code in `place`; a 1 in `first` at the first one."""
    first = torch.eye(POSITIONS).double()[:, :1]
    return place_codes() @ stream["place"].T + first @ stream["first"].T


def previous_token(stream: Stream, sharpness: float, source: str, target: str) -> Head:
    """Attends to the token before, and copies the subspace `source` there to `target` here."""
    return Head(
        "previous-token",
        query=sharpness * stream["place"] @ step_on().T,
        key=stream["place"],
        value=stream[source],
        out=stream[target].T,
    )


def shares(rng: random.Random, heads: int) -> list[float]:
    """How some heads split one job: in random order, summing to 1, none so small that nine tenths remain without it."""
    parts = {1: [1.0], 2: [0.6, 0.4], 3: [0.48, 0.29, 0.23]}[heads]
    return rng.sample(parts, heads)
