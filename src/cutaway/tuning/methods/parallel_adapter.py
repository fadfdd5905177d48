"""Parallel adapters: a small network beside a whole block, from what goes into the block to what comes out of it.

He, Zhou, Ma, Berg-Kirkpatrick & Neubig 2022, Towards a unified view of parameter-efficient transfer learning (ICLR, arXiv
2110.04366), §3 and §4: with x what goes into a block and h what comes out of it before it is added to the stream,

    h ← h + s · (W_up σ(W_down x + b_down) + b_up)        W_up = b_up = 0 at the beginning

s = 1 is the parallel adapter; the scaled parallel adapter has s = 4 where text is written, and 2 in the authors' settings for GLUE
(`scale=2`). It trains 2 m d + m + d parameters beside each of the chosen blocks, with m the adapter's width.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, linear
from cutaway.tuning.method import Method
from cutaway.tuning.methods.adapter import Bottleneck
from cutaway.tuning.places import Place, chosen, places

WAYS_IN = {"attn_o": ("attn_q", "attn_qkv"), "cross_attn_o": ("cross_attn_q",), "ffn_down": ("ffn_up",)}
"""The last projection of a block → the first one, which reads what goes into the block."""


@dataclass(frozen=True)
class Options:
    """Of parallel adapters."""

    at: tuple[str, ...] = ("ffn_down",)
    """Beside which blocks, named by their last projection: ffn_down, attn_o, cross_attn_o."""
    width: int = 48
    """Of the adapter, m."""
    scale: float = 1.0
    """s; other than 1 it is a scaled parallel adapter."""
    activation: Literal["gelu", "relu", "silu"] = "relu"
    """σ."""


class Parallel(Bottleneck):
    """Adds to a block's output what it makes of the block's input."""

    def __init__(self, d_model: int, width: int, activation: str, scale: float):
        super().__init__(d_model, width, activation)
        self.scale = scale

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self.scale * self(x)


def blocks(model: nn.Module, at: tuple[str, ...]) -> list[tuple[Place, str]]:
    """The last projections that are named, each with the name of the one that reads the block's input.

    Raises:
        CutawayError: one is not the last of a block; or, as `chosen`, nothing is called so.
    """
    known, found = places(model), []
    for place in chosen(model, at):
        role = next((other.role for other in known if other.name == place.name), "")
        firsts = [other.name for other in known if other.layer == place.layer and other.role in WAYS_IN.get(role, ())]
        if not firsts:
            raise CutawayError(f"{place.name} does not end a block: name blocks by {', '.join(WAYS_IN)}")
        found.append((place, firsts[0]))
    return found


def attach(attached: Attached, options: Options) -> None:
    for place, first in blocks(attached.host, options.at):
        _, d_model = linear(attached.host.get_submodule(place.name))
        module = Parallel(d_model, options.width, options.activation, options.scale)
        attached.beside(place.name, module, reads=first)


def count(model: nn.Module, options: Options) -> int:
    widths = (linear(model.get_submodule(place.name))[1] for place, _ in blocks(model, options.at))
    return sum(2 * options.width * d + options.width + d for d in widths)


METHOD = Method(
    name="parallel_adapter",
    kind="additive",
    about="a small network beside a block, from its input to its output",
    citation="He et al. 2022, Towards a unified view of parameter-efficient transfer learning (ICLR, arXiv 2110.04366), §4",
    options=Options,
    attach=attach,
    count=count,
)
