"""LoRA: a difference of low rank beside each chosen projection.

Hu et al. 2022, LoRA: low-rank adaptation of large language models (ICLR, arXiv 2106.09685), §4.1, eq. 3:

    h = W x + (α / r) B A x        A [r, in] random, B [out, r] = 0 at the beginning

It trains r (in + out) parameters for each projection. `rslora` divides by √r instead (Kalajdzievski 2023, arXiv 2312.03732).
Through `peft`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_rank, widths


@dataclass(frozen=True)
class Options:
    """Of LoRA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns; roles that a family does not have are left out."""
    rank: int = 8
    """r."""
    alpha: int = 16
    """α."""
    dropout: float = 0.0
    """Of what goes into A."""
    rslora: bool = False
    """Divide α by √r instead of r."""


class Lora(ThroughPeft):
    """LoRA, by `peft`."""

    config = "LoraConfig"
    names: ClassVar = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "rslora": "use_rslora"}
    always: ClassVar = {"use_dora": False}


def attach(attached: Lora, options: Options) -> None:
    check_rank(attached.host, options)
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(options.rank * (into + out) for into, out in widths(model, options.at))


METHOD = Method(
    name="lora",
    kind="reparameterised",
    about="a difference of low rank beside projections",
    citation="Hu et al. 2022, LoRA (ICLR, arXiv 2106.09685), §4.1",
    options=Options,
    attach=attach,
    count=count,
    attached=Lora,
    mergeable=True,
)
