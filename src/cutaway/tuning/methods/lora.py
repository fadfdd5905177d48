"""LoRA: a difference of low rank beside each chosen projection.

Hu et al. 2022, LoRA: low-rank adaptation of large language models (ICLR, arXiv 2106.09685), §4.1, eq. 3:

    h = W x + (α / r) B A x        A [r, in] random, B [out, r] = 0 at the beginning

It trains r (in + out) parameters for each projection. `rslora` divides by √r instead (Kalajdzievski 2023, arXiv 2312.03732).
Through `peft`.
"""

from dataclasses import dataclass

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import linear
from cutaway.tuning.method import Method
from cutaway.tuning.places import chosen
from cutaway.tuning.through_peft import ThroughPeft, at


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


def attach(attached: ThroughPeft, options: Options) -> None:
    from peft import LoraConfig

    narrowest = min(min(linear(attached.host.get_submodule(name))) for name in at(attached, options.at))
    if not 1 <= options.rank <= narrowest:
        raise CutawayError(
            f"rank is {options.rank}: give at least 1, at most {narrowest}, the width of the narrowest projection"
        )
    attached.give(
        LoraConfig(
            r=options.rank, lora_alpha=options.alpha, lora_dropout=options.dropout, use_rslora=options.rslora,
            target_modules=at(attached, options.at),
        )
    )  # fmt: skip


def count(model: nn.Module, options: Options) -> int:
    return sum(options.rank * sum(linear(model.get_submodule(place.name))) for place in chosen(model, options.at))


METHOD = Method(
    name="lora",
    kind="reparameterised",
    about="a difference of low rank beside projections",
    citation="Hu et al. 2022, LoRA (ICLR, arXiv 2106.09685), §4.1",
    options=Options,
    attach=attach,
    count=count,
    attached=ThroughPeft,
    mergeable=True,
)
