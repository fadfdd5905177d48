"""SAID: all that is learned are d numbers, spread over all weights by fixed random projections.

Aghajanyan, Gupta & Zettlemoyer 2021, Intrinsic dimensionality explains the effectiveness of language model fine-tuning (ACL, arXiv
2012.13255), structure-aware: with m layers, and θ a vector of d − m numbers for the whole model,

    W = W₀ + λ_layer P θ        θ = 0, λ = 1 at the beginning

P is a Fastfood projection (Le, Sarlós & Smola 2013) of its own for each weight of D entries. It is never built: with n the power of
two not below d − m, ⌈D / n⌉ blocks H G Π H B are applied one below the other, H a Walsh–Hadamard matrix, B random signs, Π a random
order, G Gaussian. ‖P θ‖ is ‖θ‖ in the mean.

It trains d parameters. What is random is drawn from `seed` and not kept: B and G for each block, Π for each weight; five bytes for
each entry of the weights in memory, none on disk.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Change
from cutaway.tuning.method import Method
from cutaway.tuning.places import inside, places


@dataclass(frozen=True)
class Options:
    """Of SAID."""

    at: tuple[str, ...] = ("layer",)
    """Weights of which parts, as roles or patterns."""
    dimension: int = 1000
    """d."""
    seed: int = 0
    """Of the projections."""


class Shared(nn.Module):
    """θ, and the two small matrices of which the large H is the Kronecker product."""

    def __init__(self, d: int):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(d))
        power = (d - 1).bit_length()
        self.register_buffer("left", hadamard(power // 2), persistent=False)
        self.register_buffer("right", hadamard(power - power // 2), persistent=False)
        self.n = 2**power

    def transformed(self, x: Float[Tensor, "*blocks n"]) -> Float[Tensor, "*blocks n"]:
        """H x."""
        return (self.left @ x.unflatten(-1, (len(self.left), len(self.right))) @ self.right).flatten(-2)


def hadamard(power: int) -> Float[Tensor, "n n"]:
    """Of 2^power rows, with entries of 1 and −1."""
    h = torch.ones(1, 1)
    for _ in range(power):
        h = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), h)
    return h


class Projected(Change):
    """λ P θ on one weight."""

    def __init__(self, shared: Shared, scale: nn.Parameter, weight: Tensor, draw: torch.Generator):
        super().__init__()
        self.shared, self.scale = shared, scale
        blocks = -(-weight.numel() // shared.n)
        signs = torch.randint(2, (blocks, shared.n), generator=draw, dtype=torch.int8) * 2 - 1
        self.register_buffer("signs", signs, persistent=False)
        self.register_buffer("order", torch.randperm(shared.n, generator=draw), persistent=False)
        self.register_buffer("gauss", torch.randn(blocks, shared.n, generator=draw), persistent=False)

        self.entries = weight.numel()

    def forward(self, weight: Tensor) -> Tensor:
        return weight + Scaled.apply(self.scale, self.shared.theta, self).view_as(weight).to(weight.dtype)

    def onto(self, theta: Float[Tensor, "d"]) -> Float[Tensor, "entries"]:
        """P θ."""
        h, n = self.shared.transformed, self.shared.n
        mixed = h(nn.functional.pad(theta, (0, n - len(theta))) * self.signs)[:, self.order]
        return h(mixed * self.gauss).flatten()[: self.entries] / (n * self.entries) ** 0.5

    def back(self, delta: Float[Tensor, "entries"]) -> Float[Tensor, "d"]:
        """Pᵀ δ."""
        h, n = self.shared.transformed, self.shared.n
        blocks = nn.functional.pad(delta, (0, self.gauss.numel() - self.entries)).view_as(self.gauss)
        mixed = torch.zeros_like(self.gauss).index_copy_(1, self.order, h(blocks) * self.gauss)
        return (h(mixed) * self.signs).sum(0)[: len(self.shared.theta)] / (n * self.entries) ** 0.5


class Scaled(torch.autograd.Function):
    """λ P θ. Its gradients are λ Pᵀ δ and ⟨Pᵀ δ, θ⟩: nothing as large as a weight is kept for them."""

    @staticmethod
    def forward(ctx: Any, scale: Tensor, theta: Tensor, by: Projected) -> Tensor:
        ctx.save_for_backward(scale, theta)
        ctx.by = by
        return scale * by.onto(theta)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        scale, theta = ctx.saved_tensors
        back = ctx.by.back(delta)
        return back @ theta, scale * back, None


def layers(model: nn.Module, options: Options) -> dict[str, int]:
    """Names of the parameters, and of each the layer; −1 for what stands outside them."""
    known = [(f"{place.name}.", place.layer) for place in places(model) if place.role == "layer"]
    return {
        name: next((layer for start, layer in known if name.startswith(start)), -1)
        for name in inside(model, options.at)
    }


def attach(attached: Attached, options: Options) -> None:
    found = layers(attached.host, options)
    scales = {layer: nn.Parameter(torch.ones(())) for layer in found.values()}
    if options.dimension <= len(scales):
        raise CutawayError(
            f"dimension is {options.dimension}: one number is for each layer, give more than {len(scales)}"
        )
    shared, draw = Shared(options.dimension - len(scales)), torch.Generator().manual_seed(options.seed)
    for name, layer in found.items():
        weight = attached.own(name)
        attached.on_weight(name, Projected(shared, scales[layer], weight, draw).to(weight.device))


def count(model: nn.Module, options: Options) -> int:
    return options.dimension


METHOD = Method(
    name="said",
    kind="reparameterised",
    about="d numbers, spread over all weights at random",
    citation=(
        "Aghajanyan, Gupta & Zettlemoyer 2021, Intrinsic dimensionality explains the effectiveness of language model "
        "fine-tuning (ACL, arXiv 2012.13255)"
    ),
    options=Options,
    attach=attach,
    count=count,
    mergeable=True,
)
