"""What a planted circuit is: a plan of subspaces and heads, and the finished model with its truth."""

import importlib
import pkgutil
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from jaxtyping import Float
from torch import Tensor

from cutaway.decoder.model import Decoder
from cutaway.decoder.planted.weights import Head, Stream
from cutaway.decoder.sites import Site
from cutaway.decoder.tokens import Tokenizer


@dataclass(frozen=True)
class Plan:
    """A circuit before it is written into weights. Sites that `heads` leaves free are filled with distractors.

    The stream has subspaces `place` and `first` (see `position_table`), `one` (every token has a 1 there) and `junk`,
    which no planted head reads; `content` names the one that says which token stands here. `decoys` names the kinds of
    distractors; `mlps` gives the weights (up, down) of the MLPs that are part of the circuit, by layer.
    """

    tokenizer: Tokenizer
    stream: Stream
    embed: Float[Tensor, "vocab d_model"]
    positions: Float[Tensor, "pos d_model"]
    unembed: Float[Tensor, "vocab d_model"]
    content: str
    n_layers: int
    n_heads: int
    d_head: int
    heads: dict[Site, Head]
    decoys: tuple[str, ...] = ("twin", "first token", "noise")
    mlps: dict[int, tuple[Float[Tensor, "d_model d_mlp"], Float[Tensor, "d_mlp d_model"]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Circuit:
    """A circuit that can be planted; `plan` draws one from the dice it is given.

    It is named after what it does; a variant has more behind a hyphen: `acronyms-negative` writes acronyms too.
    """

    name: str
    about: str
    plan: Callable[[random.Random], Plan]


@dataclass(frozen=True)
class Planted:
    """A planted model and what is in it.

    `heads` gives the role of every head of the circuit; `distractors` the kind of every other head.
    """

    name: str
    about: str
    model: Decoder
    heads: dict[Site, str]
    distractors: dict[Site, str]


@cache
def circuits() -> dict[str, Circuit]:
    """Every circuit of this package: modules with a `CIRCUITS` tuple."""
    package = importlib.import_module("cutaway.decoder.planted")
    modules = (importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__))
    return {circuit.name: circuit for module in modules for circuit in getattr(module, "CIRCUITS", ())}
