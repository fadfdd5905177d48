"""BOFT: orthogonal finetuning by blocks, with a scale for each output.

Liu et al. 2024, Parameter-efficient orthogonal finetuning via butterfly factorization (ICLR, arXiv 2311.06243), §4:

    h = s ⊙ (W R x)        R = diag(R₁, …), R_i = (I + Q_i)(I − Q_i)⁻¹, Q_i = (A_i − A_iᵀ) / 2

with A_i [b, b] = 0 and s = 1 at the beginning.

It trains in b + out parameters for each projection. This is the case of one butterfly factor (m = 1): for more, `peft` needs a
CUDA extension that it compiles itself, and takes one without saying so where it cannot. Through `peft`.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from torch import nn

from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_blocks, widths


@dataclass(frozen=True)
class Options:
    """Of BOFT."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    block: int = 4
    """b; it has to divide the width that comes in."""
    dropout: float = 0.0
    """How many blocks are left unturned in a step of training."""


class Boft(ThroughPeft):
    """BOFT, by `peft`."""

    config = "BOFTConfig"
    names: ClassVar = {"block": "boft_block_size", "dropout": "boft_dropout"}
    always: ClassVar = {"boft_n_butterfly_factor": 1, "boft_block_num": 0}
    conv1d = False

    def wrap(self, config: Any) -> None:
        """Without the CUDA extension, which one factor does not use: `peft` would try to compile it."""
        theirs: Any = import_module("peft.tuners.boft.layer")
        known, theirs._FBD_CUDA = theirs._FBD_CUDA, False
        try:
            super().wrap(config)
        finally:
            theirs._FBD_CUDA = known


def attach(attached: Boft, options: Options) -> None:
    check_blocks(attached.host, options)
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(into * options.block + out for into, out in widths(model, options.at))


METHOD = Method(
    name="boft",
    kind="reparameterised",
    about="orthogonal blocks, and a scale for each output",
    citation="Liu et al. 2024, BOFT (ICLR, arXiv 2311.06243), §4",
    options=Options,
    attach=attach,
    count=count,
    attached=Boft,
    mergeable=True,
)
