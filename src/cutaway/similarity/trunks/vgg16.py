"""VGG-16 without normalisation, read at the last ReLU of each of its five blocks."""

from torch import nn

from cutaway.core.sources import Url
from cutaway.similarity.trunk import Chain, Layer, Net
from cutaway.similarity.weights import Published

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each block."""


def vgg16() -> Chain:
    modules: list[nn.Module] = []
    ends, channels = [], 3
    for width, convolutions in BLOCKS:
        for _ in range(convolutions):
            modules += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        ends.append(len(modules) - 1)
        modules.append(nn.MaxPool2d(2))
    return Chain(modules, tuple(ends))


_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
NET = Net(
    name="vgg",
    about="VGG-16, 5 layers, 14.7 M parameters of its convolutions; the usual choice for optimising images",
    citation="Simonyan & Zisserman 2015, Very deep convolutional networks for large-scale image recognition, ICLR",
    build=vgg16,
    layers=(
        Layer("relu1_2", 64),
        Layer("relu2_2", 128),
        Layer("relu3_3", 256),
        Layer("relu4_3", 512),
        Layer("relu5_3", 512),
    ),
    smallest=16,
    stride=1,
    weights=(
        Published(Url("https://download.pytorch.org/models/vgg16-397923af.pth", _SHA256, "BSD-3-Clause"), _SHA256),
    ),
)
