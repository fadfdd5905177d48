"""DoRA: LoRA on the direction of a weight, with its magnitude learned beside it.

Liu et al. 2024, DoRA: weight-decomposed low-rank adaptation (ICML, arXiv 2402.09353), §4.1, eq. 5:

    W' = m (W + (α / r) B A) / ‖W + (α / r) B A‖        the norm of each output's row; m = ‖W‖ at the beginning

It trains r (in + out) + out parameters for each projection. Through `peft`, which takes the norm as a constant where gradients are
concerned (the paper's §4.3).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_rank, widths


@dataclass(frozen=True)
class Options:
    """Of DoRA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    rank: int = 8
    """r."""
    alpha: int = 16
    """α."""
    dropout: float = 0.0
    """Of what goes into A."""


class Dora(ThroughPeft):
    """DoRA, by `peft`."""

    config = "LoraConfig"
    names: ClassVar = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}
    always: ClassVar = {"use_dora": True, "use_rslora": False}


def attach(attached: Dora, options: Options) -> None:
    check_rank(attached.host, options)
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(options.rank * (into + out) + out for into, out in widths(model, options.at))


METHOD = Method(
    name="dora",
    kind="reparameterised",
    about="LoRA on the direction of weights, magnitudes beside it",
    citation="Liu et al. 2024, DoRA (ICML, arXiv 2402.09353), §4.1",
    options=Options,
    attach=attach,
    count=count,
    attached=Dora,
    mergeable=True,
)
