"""What a trunk is: a network of convolutions that is read at several layers. Each is one file in `trunks/`, with a record.

A trunk is cut into stages, one for each layer that is compared: stage k takes what stage k − 1 gave, stage 0 the image. Nothing
after the last such layer is built, and what a checkpoint holds of it is left alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.discovery import discover, pick
from cutaway.similarity.weights import Published

Features = Float[Tensor, "batch _channel _h _w"]
"""Of one layer; each has its own channels and size."""
State = Mapping[str, Tensor]

IMAGENET_SHIFT, IMAGENET_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and standard deviation of ImageNet's colours, for images in −1 to 1 (LPIPS v0.1, `ScalingLayer`)."""


class Layer(NamedTuple):
    """A layer that is compared."""

    name: str
    channels: int


class Trunk(nn.Module, ABC):
    """A network that gives features stage by stage."""

    @abstractmethod
    def stage(self, k: int, x: Features) -> Features:
        """Features of layer k, from those of layer k − 1; from the image, as the trunk wants it, for k = 0."""


class Chain(Trunk):
    """A trunk that is one module after another, named `features` as torchvision does, so that its checkpoints fit.

    Args:
        ends: of each stage, the place of its last module.
    """

    def __init__(self, modules: list[nn.Module], ends: tuple[int, ...]):
        super().__init__()
        self.features = nn.Sequential(*modules[: ends[-1] + 1])
        self.stages = tuple(pairwise((0, *(end + 1 for end in ends))))

    def stage(self, k: int, x: Features) -> Features:
        for i in range(*self.stages[k]):
            x = self.features[i](x)
        return x


def as_it_is(state: State) -> State:
    return state


@dataclass(frozen=True)
class Net:
    """One trunk."""

    name: str
    about: str
    citation: str
    build: Callable[[], Trunk]
    """Makes it, with random weights."""
    layers: tuple[Layer, ...]
    smallest: int
    """Side of the smallest square image that reaches the last layer, in pixels."""
    stride: int
    """Of the first layer: pixels from one of its places to the next."""
    weights: tuple[Published, ...]
    """Where its weights can be had, tried in order."""
    convert: Callable[[State], State] = as_it_is
    """From a checkpoint to the names and values of the trunk."""
    beside: tuple[str, ...] = ("classifier.",)
    """Beginnings of the names of what a checkpoint may hold and the trunk has no use for."""
    shift: tuple[float, float, float] = IMAGENET_SHIFT
    scale: tuple[float, float, float] = IMAGENET_SCALE
    """It reads (image − shift) / scale, the image in −1 to 1."""

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(layer.channels for layer in self.layers)

    def first_features(self, h: int, w: int) -> int:
        """About how many numbers the first layer makes of an image."""
        return max(1, self.channels[0] * h * w // self.stride**2)


@cache
def nets() -> dict[str, Net]:
    """All of them, by name."""
    return discover("cutaway.similarity.trunks", "NET")


def net_named(name: str) -> Net:
    """One by name; raises `CutawayError` with the nearest names if there is none such."""
    return pick(nets(), name, "trunk")
