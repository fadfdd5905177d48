"""SqueezeNet 1.1, and what it shares with 1.0: fire modules, and the seven layers that are read."""

import torch
from torch import nn

from cutaway.core.sources import Url
from cutaway.similarity.trunk import Chain, Features, Layer, Net
from cutaway.similarity.weights import Published


class Fire(nn.Module):
    """1×1 convolutions that squeeze, then 1×1 and 3×3 ones that expand, side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Features) -> Features:
        x = self.squeeze(x).relu_()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu_()


def fires(channels: int) -> list[Fire]:
    """fire2 to fire9, the same in both versions but for the channels that the first is given."""
    made = []
    for squeezed in (16, 16, 32, 32, 48, 48, 64, 64):
        made.append(Fire(channels, squeezed, 4 * squeezed))
        channels = 8 * squeezed
    return made


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def layers(first: int) -> tuple[Layer, ...]:
    """The layers that are compared, the first of which has `first` channels."""
    widths = {"relu1": first, "fire3": 128, "fire5": 256, "fire6": 384, "fire7": 384, "fire8": 512, "fire9": 512}
    return tuple(Layer(name, channels) for name, channels in widths.items())


def squeezenet1_1() -> Chain:
    fire = fires(64)
    first = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(inplace=True)]
    return Chain([*first, pool(), *fire[:2], pool(), *fire[2:4], pool(), *fire[4:]], ends=(1, 4, 7, 9, 10, 11, 12))


_SHA256 = "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b"
NET = Net(
    name="squeeze",
    about="SqueezeNet 1.1, 7 layers, 0.7 M parameters of its convolutions",
    citation="Iandola et al. 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, arXiv 1602.07360",
    build=squeezenet1_1,
    layers=layers(64),
    smallest=17,
    stride=2,
    weights=(
        Published(
            Url("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", _SHA256, "BSD-3-Clause"), _SHA256
        ),
    ),
)
