"""LoHa: a difference that is the elementwise product of two of low rank.

Hyeon-Woo, Ye-Bin & Oh 2022, FedPara: low-rank Hadamard product for communication-efficient federated learning (ICLR, arXiv
2108.06098), §2.2; as an adapter, Yeh et al. 2024, Navigating text-to-image customization: from LyCORIS fine-tuning to model
evaluation (ICLR, arXiv 2309.14859):

    h = (W + (α / r) (A₁ B₁) ⊙ (A₂ B₂)) x        A [out, r], B [r, in]; A₂ = 0 at the beginning

Its rank can reach r². It trains 2 r (in + out) parameters for each projection. Through `peft`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_rank, widths


@dataclass(frozen=True)
class Options:
    """Of LoHa."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    rank: int = 8
    """r."""
    alpha: int = 8
    """α."""


class Loha(ThroughPeft):
    """LoHa, by `peft`."""

    config = "LoHaConfig"
    names: ClassVar = {"rank": "r", "alpha": "alpha"}
    conv1d = False


def attach(attached: Loha, options: Options) -> None:
    check_rank(attached.host, options)
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(2 * options.rank * (into + out) for into, out in widths(model, options.at))


METHOD = Method(
    name="loha",
    kind="reparameterised",
    about="an elementwise product of two differences of low rank",
    citation="Hyeon-Woo, Ye-Bin & Oh 2022, FedPara (ICLR, arXiv 2108.06098), §2.2",
    options=Options,
    attach=attach,
    count=count,
    attached=Loha,
    mergeable=True,
)
