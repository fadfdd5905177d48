"""Compacter: adapters whose two matrices are sums of Kronecker products, of small shared matrices and of low-rank ones.

Karimi Mahabadi, Henderson & Ruder 2021, Compacter: efficient low-rank hypercomplex adapter layers (NeurIPS, arXiv 2106.04647),
§4: in an adapter h ← h + W_up σ(W_down h + b_down) + b_up each matrix W of shape out × in is

    W = Σᵢ Aᵢ ⊗ (Sᵢ Tᵢᵀ)        i = 1 … n,  Aᵢ [n, n],  Sᵢ [out/n, r],  Tᵢ [in/n, r]

All adapters of the model share the Aᵢ (§4: "slow" weights); S and T are their own ("fast" weights). S of W_up begins as zero.
With an adapter's width m it trains n³ parameters once, and 2 r (d + m) + m + d behind each of the chosen projections.
Compacter++ (compacter_plus.py) is the same behind the feed-forward block alone.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Beside, linear
from cutaway.tuning.method import Method
from cutaway.tuning.methods.adapter import ACTIVATIONS
from cutaway.tuning.places import chosen


@dataclass(frozen=True)
class Options:
    """Of Compacter."""

    at: tuple[str, ...] = ("attn_o", "ffn_down")
    """Behind which projections: roles or patterns."""
    width: int = 24
    """Of the adapter, m; n divides it."""
    products: int = 4
    """Kronecker products in a sum, n; divides the model's width too."""
    rank: int = 1
    """Of their second factors, r."""
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """σ."""


class PHM(nn.Module):
    """A parameterised hypercomplex multiplication of low rank: y = (Σᵢ Aᵢ ⊗ Sᵢ Tᵢᵀ) x + b, never made into one matrix.

    In the beginning y has the variance of x, if the Aᵢ have a deviation of 1 / n.
    """

    def __init__(self, shared: nn.Parameter, into: int, out: int, rank: int):
        super().__init__()
        n = len(shared)
        self.shared = shared
        self.S = nn.Parameter(torch.empty(n, out // n, rank))
        self.T = nn.Parameter(torch.empty(n, into // n, rank))
        self.bias = nn.Parameter(torch.zeros(out))
        nn.init.normal_(self.S, std=rank**-0.5)
        nn.init.normal_(self.T, std=(n / into) ** 0.5)

    def forward(self, x: Float[Tensor, "*some into"]) -> Float[Tensor, "*some out"]:
        n = len(self.shared)
        inner = torch.einsum("...qk,ikr->...iqr", x.unflatten(-1, (n, -1)), self.T)
        mixed = torch.einsum("ipq,...iqr->...ipr", self.shared, inner)
        return torch.einsum("ikr,...ipr->...pk", self.S, mixed).flatten(-2) + self.bias


class HypercomplexAdapter(Beside):
    """An adapter of two such maps."""

    def __init__(self, shared: nn.Parameter, d_model: int, options: Options):
        super().__init__()
        m, r = options.width, options.rank
        self.down, self.up = PHM(shared, d_model, m, r), PHM(shared, m, d_model, r)
        self.activation = ACTIVATIONS[options.activation]
        nn.init.zeros_(self.up.S)

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self.up(self.activation(self.down(y)))


def attach(attached: Attached, options: Options) -> None:
    widths = {
        place.name: linear(attached.host.get_submodule(place.name))[1] for place in chosen(attached.host, options.at)
    }
    for d_model in {*widths.values()}:
        check(d_model, options)
    n = options.products
    shared = nn.Parameter(torch.randn(n, n, n) / n)
    for name, d_model in widths.items():
        attached.beside(name, HypercomplexAdapter(shared, d_model, options))


def check(d_model: int, options: Options) -> None:
    """Raises `CutawayError` for a width, number of products or rank that does not fit."""
    n, m, r = options.products, options.width, options.rank
    if n < 1:
        raise CutawayError(f"products is {n}: give at least 1")
    if not 1 <= m < d_model or m % n or d_model % n:
        raise CutawayError(
            f"width is {m} and products {n}: products must divide both width and {d_model}, the model's, which is the larger"
        )
    if not 1 <= r <= m // n:
        raise CutawayError(f"rank is {r}: give at least 1, at most {m // n}, width / products")


def count(model: nn.Module, options: Options) -> int:
    n, m, r = options.products, options.width, options.rank
    widths = (linear(model.get_submodule(place.name))[1] for place in chosen(model, options.at))
    return n**3 + sum(2 * r * (d + m) + m + d for d in widths)


METHOD = Method(
    name="compacter",
    kind="additive",
    about="adapters made of Kronecker products, of low rank and partly shared",
    citation="Karimi Mahabadi, Henderson & Ruder 2021, Compacter (NeurIPS, arXiv 2106.04647), §4",
    options=Options,
    attach=attach,
    count=count,
)
