"""The activation functions of MLPs, by the names that configs use."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = math.sqrt(8 / math.pi)
PIECE = 2**18
"""Numbers that stay in a core's cache while several operations go over them."""


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU in its tanh form (Hendrycks & Gimpel 2016, arXiv 1606.08415, §2), as GPT-2 has it.

    ½ + ½ tanh(u) is σ(2u), so it is x · σ(√(8/π) · (x + 0.044715 x³)). PyTorch's own kernel is slow on a CPU, next to the matrix
    products around it; the same in place, piece by piece in the cache, takes less. Where gradients are wanted, or elsewhere
    than on a CPU, PyTorch's own is taken.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return F.gelu(x, approximate="tanh")
    x = x.contiguous()
    out = torch.empty_like(x)
    one = torch.tensor(SLOPE)
    for piece, y in zip(x.view(-1).split(PIECE), out.view(-1).split(PIECE), strict=True):
        torch.addcmul(one, piece, piece, value=0.044715 * SLOPE, out=y)
        y.mul_(piece).sigmoid_().mul_(piece)
    return out


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "silu": F.silu,
    "relu": F.relu,
}
