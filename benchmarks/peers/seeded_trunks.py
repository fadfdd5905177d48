"""Weights and images drawn by seed, the same in every environment: what the distances of two libraries are compared on.

Random weights of convolutions as He et al. 2015 draw them, so that features stay alive down to the last layer. NumPy's
`RandomState` is frozen: it gives the same numbers in every release. This file runs in each library's own environment.
"""

import numpy as np
import torch
from torch import Tensor


def weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """A trunk's weights by name, float32; drawn in the order of the names."""
    draw, made = np.random.RandomState(seed), {}
    for name in sorted(shapes):
        shape = shapes[name]
        fan_in = int(np.prod(shape[1:])) or 1
        scale = (2 / fan_in) ** 0.5 if len(shape) > 1 else 0.05
        made[name] = torch.from_numpy((scale * draw.standard_normal(shape)).astype(np.float32))
    return made


def linear(channels: tuple[int, ...], seed: int) -> list[Tensor]:
    """A weight in 0 to 1 for each channel of each layer, where published ones are not at hand."""
    draw = np.random.RandomState(seed)
    return [torch.from_numpy(draw.uniform(size=n).astype(np.float32)) for n in channels]


def pairs(n: int, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    """Images `[n, 3, *size]` in −1 to 1, float64: rough ones, and the same with more and more noise; the last is another image."""
    draw = np.random.RandomState(seed)
    a = np.kron(draw.uniform(-1, 1, (n, 3, -(-size[0] // 8), -(-size[1] // 8))), np.ones((8, 8)))[
        ..., : size[0], : size[1]
    ]
    noise = draw.standard_normal(a.shape) * np.linspace(0.05, 0.6, n)[:, None, None, None]
    b = np.clip(0.8 * a + noise, -1, 1)
    b[-1] = draw.uniform(-1, 1, b[-1].shape)
    return torch.from_numpy(a), torch.from_numpy(b)
