"""LoKr: a difference that is a Kronecker product, its larger factor of low rank.

Yeh et al. 2024, Navigating text-to-image customization: from LyCORIS fine-tuning to model evaluation (ICLR, arXiv 2309.14859):

    h = (W + (α / r) C ⊗ D) x        C [o₁, i₁] = 0 at the beginning, D [o₂, i₂]        in = i₁ i₂, out = o₁ o₂

The factors are the nearest to each other that there are, unless `factor` says otherwise. D is B A, of rank r, if r is below half
its longer side. It trains o₁ i₁ + o₂ i₂ parameters for each projection, or o₁ i₁ + r (o₂ + i₂). Through `peft`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, check_rank, widths


@dataclass(frozen=True)
class Options:
    """Of LoKr."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    rank: int = 8
    """r."""
    alpha: int = 8
    """α."""
    factor: int = -1
    """i₁ and o₁ where it divides the width, else the largest that is not above it; −1 for the nearest to the square root."""


class Lokr(ThroughPeft):
    """LoKr, by `peft`."""

    config = "LoKrConfig"
    names: ClassVar = {"rank": "r", "alpha": "alpha", "factor": "decompose_factor"}
    conv1d = False


def factors(width: int, factor: int = -1) -> tuple[int, int]:
    """The two whose product is a width."""
    if factor > 0 and width % factor == 0:
        return factor, width // factor
    most = int(width**0.5) if factor == -1 else min(factor, int(width**0.5))
    small = next(n for n in range(most, 0, -1) if width % n == 0)
    return small, width // small


def attach(attached: Lokr, options: Options) -> None:
    check_rank(attached.host, options)
    if options.factor != -1 and options.factor < 1:
        raise CutawayError(f"factor is {options.factor}: give at least 1, or -1 for the nearest to the square root")
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    def each(into: int, out: int) -> int:
        (i1, i2), (o1, o2) = factors(into, options.factor), factors(out, options.factor)
        whole = options.rank >= max(o2, i2) / 2
        return o1 * i1 + (o2 * i2 if whole else options.rank * (o2 + i2))

    return sum(each(into, out) for into, out in widths(model, options.at))


METHOD = Method(
    name="lokr",
    kind="reparameterised",
    about="a difference that is a Kronecker product",
    citation="Yeh et al. 2024, LyCORIS (ICLR, arXiv 2309.14859)",
    options=Options,
    attach=attach,
    count=count,
    attached=Lokr,
    mergeable=True,
)
