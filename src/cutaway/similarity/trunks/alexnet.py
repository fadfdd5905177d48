"""AlexNet as torchvision has it, without groups and normalisation, read after each of its five ReLUs."""

from torch import nn

from cutaway.core.sources import Url
from cutaway.similarity.trunk import Chain, Layer, Net
from cutaway.similarity.weights import Published


def alexnet() -> Chain:
    modules: list[nn.Module] = [
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
    ]
    return Chain(modules, ends=(1, 4, 7, 9, 11))


_SHA256 = "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"
NET = Net(
    name="alex",
    about="AlexNet, 5 layers, 2.5 M parameters of its convolutions; the usual choice for comparing images",
    citation="Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks, arXiv 1404.5997",
    build=alexnet,
    layers=(Layer("relu1", 64), Layer("relu2", 192), Layer("relu3", 384), Layer("relu4", 256), Layer("relu5", 256)),
    smallest=31,
    stride=4,
    weights=(
        Published(
            Url("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", _SHA256, "BSD-3-Clause"), _SHA256
        ),
    ),
)
