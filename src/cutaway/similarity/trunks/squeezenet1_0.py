"""SqueezeNet 1.0, ImageNet-trained, in the 0.7 MB that Deep Compression makes of it. LPIPS's weights are for 1.1 and do not fit."""

from torch import nn

from cutaway.core.sources import Url
from cutaway.similarity.trunk import Chain, Net
from cutaway.similarity.trunks.squeezenet import fires, layers, pool
from cutaway.similarity.weights import Published


def squeezenet1_0() -> Chain:
    fire = fires(96)
    first = [nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(inplace=True)]
    return Chain([*first, pool(), *fire[:3], pool(), *fire[3:7], pool(), fire[7]], ends=(1, 4, 7, 8, 9, 10, 12))


_HOME = "https://github.com/songhan/SqueezeNet-Deep-Compression/raw/master/compressed_SqueezeNet.net"
_SHA256 = "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261"
NET = Net(
    name="squeezenet1_0",
    about="SqueezeNet 1.0, 7 layers, 0.7 M parameters of its convolutions; its weights are 0.7 MB to fetch",
    citation="Han, Mao & Dally 2016, Deep compression, ICLR; Iandola et al. 2016, SqueezeNet, arXiv 1602.07360",
    build=squeezenet1_0,
    layers=layers(96),
    smallest=21,
    stride=2,
    weights=(Published(Url(_HOME, _SHA256, "BSD"), _SHA256, data="imagenet_squeezenet/compressed_SqueezeNet.net"),),
)
