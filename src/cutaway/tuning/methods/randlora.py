"""RandLoRA: a difference of full rank, the sum of random ones of low rank that are scaled.

Albert et al. 2025, RandLoRA: full-rank parameter-efficient fine-tuning of large models (ICLR, arXiv 2502.00987), §4:

    h = W x + (α / r) Σ_j B_j Λ_j A Γ_j x        n = ⌈min(in, out) / r⌉ terms; A, B_j random, shared and frozen

Λ_j [r] = 0 and Γ_j [min(in, out)] are diagonal; where out < in, the terms are transposed. It trains n (r + min(in, out))
parameters for each projection: the smaller the rank of the terms, the more there are. Through `peft`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_rank, widths


@dataclass(frozen=True)
class Options:
    """Of RandLoRA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    rank: int = 32
    """r: of each term."""
    alpha: int = 640
    """α; twenty times the rank is usual."""
    dropout: float = 0.0
    """Of what comes in."""


class RandLora(ThroughPeft):
    """RandLoRA, by `peft`."""

    config = "RandLoraConfig"
    names: ClassVar = {"rank": "r", "alpha": "randlora_alpha", "dropout": "randlora_dropout"}
    always: ClassVar = {"sparse": False, "very_sparse": False}


def attach(attached: RandLora, options: Options) -> None:
    check_rank(attached.host, options)
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    sides = (min(each) for each in widths(model, options.at))
    return sum(-(-side // options.rank) * (options.rank + side) for side in sides)


METHOD = Method(
    name="randlora",
    kind="reparameterised",
    about="scaled sums of random matrices of low rank",
    citation="Albert et al. 2025, RandLoRA (ICLR, arXiv 2502.00987), §4",
    options=Options,
    attach=attach,
    count=count,
    attached=RandLora,
    mergeable=True,
)
