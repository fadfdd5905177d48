"""FourierFT: a difference of weights with few frequencies.

Gao et al. 2024, Parameter-efficient fine-tuning with discrete Fourier transform (ICML, arXiv 2405.03003), §3:

    h = (W + α Re(IDFT2(F))) x        F [out, in] is 0 but for n entries, at places drawn once

It trains n parameters for each projection. The n coefficients are 0 at the beginning here, where the paper draws them at random.
Through `peft`; the places come from `seed`, so that all projections of one shape have the same ones.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, at, widths


@dataclass(frozen=True)
class Options:
    """Of FourierFT."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns."""
    frequencies: int = 1000
    """n."""
    scale: float = 150.0
    """α."""
    seed: int = 777
    """Of the places."""


class FourierFT(ThroughPeft):
    """FourierFT, by `peft`."""

    config = "FourierFTConfig"
    names: ClassVar = {"frequencies": "n_frequency", "scale": "scaling", "seed": "random_loc_seed"}

    @classmethod
    def theirs(cls, options: Options) -> dict:
        return super().theirs(options) | {"init_weights": True}


def attach(attached: FourierFT, options: Options) -> None:
    most = min(into * out for into, out in widths(attached.host, options.at))
    if not 1 <= options.frequencies <= most:
        raise CutawayError(
            f"frequencies is {options.frequencies}: give at least 1, at most {most}, the entries of the smallest weight"
        )
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return options.frequencies * len(at(model, options.at))


METHOD = Method(
    name="fourierft",
    kind="reparameterised",
    about="a difference with few frequencies",
    citation="Gao et al. 2024, FourierFT (ICML, arXiv 2405.03003), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=FourierFT,
    mergeable=True,
)
