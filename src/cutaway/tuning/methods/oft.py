"""OFT: inputs of projections are turned, block by block, by orthogonal matrices that are learned.

Qiu et al. 2023, Controlling text-to-image diffusion by orthogonal finetuning (NeurIPS, arXiv 2306.07280), §3.2; on the side of the
input, Qiu et al. 2025, Orthogonal finetuning made scalable (EMNLP, arXiv 2506.19847):

    h = W R x        R = diag(R₁, …), R_i = (I + Q_i)(I − Q_i)⁻¹, Q_i = −Q_iᵀ [b, b] = 0 at the beginning

It trains in (b − 1) / 2 parameters for each projection. The inverse is exact with terms=0; else it is a Neumann
series of as many terms, which makes R nearly orthogonal, and for which `peft` takes −Q for Q. Through `peft`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_blocks, widths


@dataclass(frozen=True)
class Options:
    """Of OFT."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    block: int = 32
    """b; it has to divide the width that comes in."""
    terms: int = 5
    """Of the Neumann series."""
    dropout: float = 0.0
    """How many blocks are left unturned in a step of training."""


class Oft(ThroughPeft):
    """OFT, by `peft`."""

    config = "OFTConfig"
    names: ClassVar = {"block": "oft_block_size", "dropout": "module_dropout"}
    always: ClassVar = {"r": 0}
    conv1d = False

    @classmethod
    def theirs(cls, options: Options) -> dict[str, Any]:
        series = {"use_cayley_neumann": options.terms > 0, "num_cayley_neumann_terms": options.terms or 5}
        return super().theirs(options) | series

    @classmethod
    def ours(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        series = config.get("use_cayley_neumann", True)
        found = super().ours(config)
        return found and found | {"terms": config.get("num_cayley_neumann_terms", 5) if series else 0}


def attach(attached: Oft, options: Options) -> None:
    check_blocks(attached.host, options)
    if options.terms < 0:
        raise CutawayError(f"terms is {options.terms}: give at least 1, or 0 for the exact inverse")
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(into * (options.block - 1) // 2 for into, _ in widths(model, options.at))


METHOD = Method(
    name="oft",
    kind="reparameterised",
    about="inputs turned by orthogonal blocks",
    citation="Qiu et al. 2023, OFT (NeurIPS, arXiv 2306.07280), §3.2",
    options=Options,
    attach=attach,
    count=count,
    attached=Oft,
    mergeable=True,
)
