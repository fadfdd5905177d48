"""Sequential adapters: a small network behind each block of a layer.

Houlsby et al. 2019, Parameter-efficient transfer learning for NLP (ICML, arXiv 1902.00751), §2: with h what comes out of a block
before it is added to the stream, and a width m,

    h ← h + W_up σ(W_down h + b_down) + b_up        W_up = b_up = 0 at the beginning

It trains 2 m d + m + d parameters behind each of the chosen projections. Behind the feed-forward block alone (`at=ffn_down`) it
is the adapter of Pfeiffer et al. 2021 (AdapterFusion, arXiv 2005.00247).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Beside, linear
from cutaway.tuning.method import Method
from cutaway.tuning.places import chosen

ACTIVATIONS = {"gelu": nn.functional.gelu, "relu": nn.functional.relu, "silu": nn.functional.silu}


@dataclass(frozen=True)
class Options:
    """Of sequential adapters."""

    at: tuple[str, ...] = ("attn_o", "ffn_down")
    """Behind which projections: roles or patterns."""
    width: int = 48
    """Of the adapter, m."""
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """σ."""


class Bottleneck(Beside):
    """Raises `CutawayError` for a width that is none, or not below that of the model."""

    def __init__(self, d_model: int, width: int, activation: str):
        super().__init__()
        if not 1 <= width < d_model:
            raise CutawayError(f"width is {width}: give at least 1, and less than the model's {d_model}")
        self.down, self.up = nn.Linear(d_model, width), nn.Linear(width, d_model)
        self.activation = ACTIVATIONS[activation]
        nn.init.normal_(self.down.weight, std=0.01)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.activation(self.down(x)))

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self(y)


def attach(attached: Attached, options: Options) -> None:
    for place in chosen(attached.host, options.at):
        _, d_model = linear(attached.host.get_submodule(place.name))
        attached.beside(place.name, Bottleneck(d_model, options.width, options.activation))


def count(model: nn.Module, options: Options) -> int:
    widths = (linear(model.get_submodule(place.name))[1] for place in chosen(model, options.at))
    return sum(2 * options.width * d + options.width + d for d in widths)


METHOD = Method(
    name="adapter",
    kind="additive",
    about="a small network behind each block",
    citation="Houlsby et al. 2019, Parameter-efficient transfer learning for NLP (ICML, arXiv 1902.00751), §2",
    options=Options,
    attach=attach,
    count=count,
)
