"""AdapterDrop: sequential adapters, left out of the first layers.

Rücklé, Geigle, Glockner, Beck, Pfeiffer, Reimers & Gurevych 2021, AdapterDrop: on the efficiency of adapters in transformers
(EMNLP, arXiv 2010.11918), §4: with i the number of a layer from 0, and n that of layers without adapters,

    h ← h + [i ≥ n] (W_up σ(W_down h + b_down) + b_up)        W_up = b_up = 0 at the beginning

n is the same in training and use (specialised), and no gradient goes below layer n; or, with `robust`, n is drawn anew for each
batch in training, from 0 to the number of layers − 1, and one set of adapters serves every n in use (`attached.leave_out(n)`). Of
an encoder-decoder, the layers of each half are counted from 0. It trains 2 m d + m + d parameters for each projection that has an
adapter: of those in layers i ≥ n, or of all with `robust`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, linear
from cutaway.tuning.method import Method
from cutaway.tuning.methods import adapter
from cutaway.tuning.places import Place, chosen, places


@dataclass(frozen=True)
class Options(adapter.Options):
    """Of AdapterDrop."""

    first: int = 5
    """n; the paper takes 5 of 12."""
    robust: bool = False
    """Draw n anew for each batch in training."""


class Dropping(Attached):
    """Adapters of which the first can be left out while the model is used."""

    left_out = 0
    """n, now."""

    def leave_out(self, first: int) -> None:
        """Uses the model without the adapters of its first layers. Raises `CutawayError` for what is no number of layers."""
        _check(first, self.layers)
        self.in_use = self.left_out = first

    def draw(self, model: nn.Module, args: Any) -> None:
        """Before each call of the model."""
        self.left_out = int(torch.randint(self.layers, ())) if model.training else self.in_use

    def begin(self, layers: int, first: int, robust: bool) -> None:
        """Says how many layers there are, and whether n is drawn."""
        self.layers = layers
        self.leave_out(first)
        if robust:
            self.hold(self.host.register_forward_pre_hook(self.draw))


class Dropped(adapter.Bottleneck):
    """An adapter that may be left out."""

    def __init__(self, attached: Dropping, layer: int, d_model: int, options: Options):
        super().__init__(d_model, options.width, options.activation)
        self.attached, self.layer = attached, layer

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y if self.layer < self.attached.left_out else super().around(host, x, y)


def _check(first: int, layers: int) -> None:
    if not 0 <= first < layers:
        raise CutawayError(f"first is {first}: there are {layers} layers, of which at least one keeps its adapters")


def numbered(model: nn.Module, options: Options) -> tuple[int, list[tuple[int, Place]]]:
    """How many layers the longer half has; the places that have an adapter, with their layer's number in its half."""
    halves: dict[str, list[int]] = {}
    for place in places(model):
        if place.role == "layer":
            halves.setdefault(place.name.rpartition(".")[0], []).append(place.layer)
    number = {layer: at for half in halves.values() for at, layer in enumerate(half)}
    total = max(map(len, halves.values()), default=0)
    _check(options.first, total)
    found = [(number.get(place.layer, total), place) for place in chosen(model, options.at)]
    return total, [(at, place) for at, place in found if options.robust or at >= options.first]


def attach(attached: Dropping, options: Options) -> None:
    total, found = numbered(attached.host, options)
    attached.begin(total, options.first, options.robust)
    for at, place in found:
        _, d_model = linear(attached.host.get_submodule(place.name))
        attached.beside(place.name, Dropped(attached, at, d_model, options))


def count(model: nn.Module, options: Options) -> int:
    widths = (linear(model.get_submodule(place.name))[1] for _, place in numbered(model, options)[1])
    return sum(2 * options.width * d + options.width + d for d in widths)


METHOD = Method(
    name="adapter_drop",
    kind="additive",
    about="adapters left out of the first layers",
    citation="Rücklé et al. 2021, AdapterDrop (EMNLP, arXiv 2010.11918), §4",
    options=Options,
    attach=attach,
    count=count,
    attached=Dropping,
)
