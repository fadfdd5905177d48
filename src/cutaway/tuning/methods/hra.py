"""HRA: inputs of projections go through a chain of reflections.

Yuan, Liu & Xu 2024, Bridging the gap between low-rank and orthogonal adaptation via Householder reflection adaptation (NeurIPS,
arXiv 2405.17484), §3:

    h = W H₁ … H_r x        H_i = I − 2 u_i u_iᵀ / ‖u_i‖²

Pairs of equal u undo each other at the beginning, so that r is even. It trains r in parameters for each projection. Through `peft`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_rank, widths


@dataclass(frozen=True)
class Options:
    """Of HRA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    rank: int = 8
    """r: how many reflections."""


class Hra(ThroughPeft):
    """HRA, by `peft`."""

    config = "HRAConfig"
    names: ClassVar = {"rank": "r"}
    conv1d = False


def attach(attached: Hra, options: Options) -> None:
    check_rank(attached.host, options)
    if options.rank % 2:
        raise CutawayError(f"rank is {options.rank}: give an even number, as reflections begin in pairs")
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(options.rank * into for into, _ in widths(model, options.at))


METHOD = Method(
    name="hra",
    kind="reparameterised",
    about="inputs through a chain of reflections",
    citation="Yuan, Liu & Xu 2024, HRA (NeurIPS, arXiv 2405.17484), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=Hra,
    mergeable=True,
)
