"""Residual adapters: a small network on top of each layer, behind a norm of its own, with a way around both.

Lin, Madotto & Fung 2020, Exploring versatile generative language model via parameter-efficient transfer learning (Findings of
EMNLP, arXiv 2004.03829), §3: with h what comes out of a layer, behind its feed-forward block, and a width m,

    h ← h + W_up σ(W_down LN(h) + b_down) + b_up        W_up = b_up = 0 at the beginning

It trains 2 m d + m + d parameters, and 2 d of the norm, for each layer. The adapter of Pfeiffer et al. 2021, which has no norm of
its own, is `adapter` with `at=ffn_down`.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cutaway.tuning.attach import Attached, linear
from cutaway.tuning.method import Method
from cutaway.tuning.methods.adapter import Bottleneck
from cutaway.tuning.places import chosen, places


@dataclass(frozen=True)
class Options:
    """Of residual adapters."""

    width: int = 48
    """Of the adapter, m."""
    activation: Literal["gelu", "relu", "silu"] = "relu"
    """σ."""


class Residual(Bottleneck):
    """A bottleneck behind a norm."""

    def __init__(self, d_model: int, width: int, activation: str):
        super().__init__(d_model, width, activation)
        self.norm = nn.LayerNorm(d_model)

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self(self.norm(y))


def layers(model: nn.Module) -> list[tuple[str, int]]:
    """Every layer and its width; raises `CutawayError` for a model whose layers are not known."""
    ends = {place.layer: place.name for place in places(model) if place.role == "ffn_down"}
    return [(place.name, linear(model.get_submodule(ends[place.layer]))[1]) for place in chosen(model, ("layer",))]


def attach(attached: Attached, options: Options) -> None:
    for name, d_model in layers(attached.host):
        attached.beside(name, Residual(d_model, options.width, options.activation))


def count(model: nn.Module, options: Options) -> int:
    return sum(2 * options.width * d + options.width + d + 2 * d for _, d in layers(model))


METHOD = Method(
    name="residual_adapter",
    kind="additive",
    about="a small network with its own norm on top of each layer",
    citation="Lin, Madotto & Fung 2020, Exploring versatile generative language model (Findings of EMNLP, arXiv 2004.03829), §3",
    options=Options,
    attach=attach,
    count=count,
)
