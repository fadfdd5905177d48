"""VeRA: two random matrices that all projections share, and two vectors for each that scale them.

Kopiczko, Blankevoort & Asano 2024, VeRA: vector-based random matrix adaptation (ICLR, arXiv 2310.11454), §3.1, eq. 2:

    h = W x + Λ_b B Λ_d A x        A [r, in], B [out, r] random and frozen; Λ_b = 0, Λ_d = d I at the beginning

It trains r + out parameters for each projection. The rank may be above the width: a random matrix costs nothing to learn. Through
`peft`; where widths differ, each projection takes the upper left part of the shared matrices.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, widths


@dataclass(frozen=True)
class Options:
    """Of VeRA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    rank: int = 256
    """r."""
    initial: float = 0.1
    """d."""
    dropout: float = 0.0
    """Of what goes into A."""


class Vera(ThroughPeft):
    """VeRA, by `peft`."""

    config = "VeraConfig"
    names: ClassVar = {"rank": "r", "initial": "d_initial", "dropout": "vera_dropout"}


def attach(attached: Vera, options: Options) -> None:
    if options.rank < 1:
        raise CutawayError(f"rank is {options.rank}: give at least 1")
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(options.rank + out for _, out in widths(model, options.at))


METHOD = Method(
    name="vera",
    kind="reparameterised",
    about="vectors that scale two shared random matrices",
    citation="Kopiczko, Blankevoort & Asano 2024, VeRA (ICLR, arXiv 2310.11454), §3.1",
    options=Options,
    attach=attach,
    count=count,
    attached=Vera,
    mergeable=True,
)
