"""The last layers, and nothing below them: no gradient has to go further down.

Lee, Tang & Lin 2019, What would Elsa do? Freezing layers during transformer fine-tuning (arXiv 1911.03090), where a quarter of the
layers gives nine tenths of the quality. It trains what the last n layers have. In an encoder-decoder these are the decoder's.
"""

from dataclasses import dataclass

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached
from cutaway.tuning.method import Method
from cutaway.tuning.places import inside, places


@dataclass(frozen=True)
class Options:
    """Of the last layers."""

    layers: int = 3
    """How many, n."""


def last(model: nn.Module, n: int) -> list[str]:
    """Names of the parameters of the last n layers. Raises `CutawayError` if the model does not have so many."""
    layers = [place.name for place in places(model) if place.role == "layer"]
    if not 1 <= n <= len(layers):
        raise CutawayError(
            f"layers is {n}: this model has {len(layers)} that are known, give one of 1 to {len(layers)}"
        )
    return inside(model, layers[-n:])


def attach(attached: Attached, options: Options) -> None:
    attached.free(last(attached.host, options.layers))


def count(model: nn.Module, options: Options) -> int:
    return sum(model.get_parameter(name).numel() for name in last(model, options.layers))


METHOD = Method(
    name="last_layers",
    kind="partial",
    about="the last n layers",
    citation="Lee, Tang & Lin 2019, What would Elsa do? Freezing layers during transformer fine-tuning (arXiv 1911.03090)",
    options=Options,
    attach=attach,
    count=count,
    mergeable=True,
)
