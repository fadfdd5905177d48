"""The file in which SqueezeNet 1.0 was published, as Deep Compression makes it (Han, Mao & Dally 2016).

It is pruned, and each layer has 256 values.
It is little endian. First how many weights each of the 26 convolutions has stored (uint32); then for each convolution a codebook of
256 values and the biases (float32), the codes (uint8), and the gaps from one stored weight to the next (four bits each, the low
half of a byte first). All other weights are 0.

The network reads BGR in 0 to 255 less (104, 117, 123); here that is multiplied into the first convolution, which has no padding,
so that it reads what torchvision's networks read and has their names.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.core.errors import CutawayError

MEAN_BGR = (104.0, 117.0, 123.0)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours (RGB, in 0 to 1), as torchvision's networks have them."""
CODES = 256


def shapes() -> dict[str, tuple[int, int, int]]:
    """Outputs, inputs and kernel of each convolution, in the order of the file, by torchvision's names."""
    made, channels = {"features.0": (96, 3, 7)}, 96
    for place, squeezed in zip((3, 4, 5, 7, 8, 9, 10, 12), (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        expanded = 4 * squeezed
        made[f"features.{place}.squeeze"] = (squeezed, channels, 1)
        made[f"features.{place}.expand1x1"] = (expanded, squeezed, 1)
        made[f"features.{place}.expand3x3"] = (expanded, squeezed, 3)
        channels = 2 * expanded
    return made | {"classifier.1": (1000, channels, 1)}


def read_compressed(path: Path) -> dict[str, Tensor]:
    """Names and weights as in torchvision's SqueezeNet 1.0, its classifier included.

    Raises:
        CutawayError: the file is shorter or longer than it says, or points outside a convolution.
    """
    content, at = path.read_bytes(), 0

    def take(kind: str, n: int) -> np.ndarray:
        nonlocal at
        size = np.dtype(kind).itemsize * n
        if at + size > len(content):
            raise CutawayError(f"{path} is truncated, or not a compressed SqueezeNet: it ends at byte {len(content)}")
        at += size
        return np.frombuffer(content, kind, n, at - size)

    state: dict[str, Tensor] = {}
    convolutions = shapes()
    stored = take("<u4", len(convolutions)).tolist()
    for (name, (outputs, inputs, kernel)), n in zip(convolutions.items(), stored, strict=True):
        size = outputs * inputs * kernel**2
        if not 0 < n <= size:
            raise CutawayError(f"{path} is not a compressed SqueezeNet: {name} would have {n} weights of {size}")
        codebook, bias = take("<f4", CODES), take("<f4", outputs)
        codes, packed = take("u1", n), take("u1", (n - 1) // 2 + 1)
        gaps = np.stack([packed & 15, packed >> 4], 1).ravel()[:n]
        places = (gaps.astype(np.int64) + 1).cumsum() - 1
        if places[-1] >= size:
            raise CutawayError(f"{path} is damaged: {name} has a weight at {places[-1]} of {size}")
        weight = np.zeros(size, np.float32)
        weight[places] = codebook[codes]
        state[f"{name}.weight"] = torch.from_numpy(weight.reshape(outputs, inputs, kernel, kernel))
        state[f"{name}.bias"] = torch.from_numpy(bias.copy())
    if at != len(content):
        raise CutawayError(f"{path} is not a compressed SqueezeNet: {len(content) - at} bytes are left over")
    weight, bias = state["features.0.weight"], state["features.0.bias"]
    return state | dict(zip(("features.0.weight", "features.0.bias"), _for_torchvision(weight, bias), strict=True))


def _for_torchvision(
    weight: Float[Tensor, "out 3 k k"], bias: Float[Tensor, " out"]
) -> tuple[Float[Tensor, "out 3 k k"], Float[Tensor, " out"]]:
    """The same convolution of RGB z, where BGR in 0 to 255 less its mean is 255 (s z + m) − mean, channel by channel."""
    rgb = weight.double().flip(1)
    m, s = torch.tensor(MEAN).double(), torch.tensor(DEVIATION).double()
    offset = 255 * m - torch.tensor(MEAN_BGR).double().flip(0)
    moved = bias.double() + (rgb * offset[:, None, None]).sum((1, 2, 3))
    return (rgb * (255 * s)[:, None, None]).float(), moved.float()
