"""KronA: a difference beside each chosen projection that is a Kronecker product.

Edalati et al. 2022, KronA: parameter efficient tuning with Kronecker adapter (arXiv 2212.10650):

    h = W x + s (A ⊗ B) x        A [a_out, a_in] random, B [out / a_out, in / a_in] = 0 at the beginning

The product is never built: with x as a matrix X [a_in, in / a_in], (A ⊗ B) x is A X Bᵀ. It trains
a_out a_in + (out / a_out) (in / a_in) parameters for each projection; unlike that of LoRA its difference can be of full rank.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached
from cutaway.tuning.difference import Difference, projections
from cutaway.tuning.method import Method


@dataclass(frozen=True)
class Options:
    """Of KronA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns; roles that a family does not have are left out."""
    a_out: int = 0
    """Rows of A, a divisor of the width out; 0 takes the one nearest its square root, which needs the fewest parameters."""
    a_in: int = 0
    """Columns of A, a divisor of the width in; 0 as above."""
    scale: float = 1.0
    """s."""


class Kronecker(Difference):
    def __init__(self, a: tuple[int, int], b: tuple[int, int], scale: float):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.empty(a)), nn.Parameter(torch.zeros(b))
        self.scale = scale
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def difference(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        rows = x.unflatten(-1, (self.a.shape[1], self.b.shape[1]))
        return self.scale * (self.a @ (rows @ self.b.T)).flatten(-2)

    def built(self) -> Float[Tensor, "d_out d_in"]:
        return self.scale * torch.kron(self.a, self.b)


def attach(attached: Attached, options: Options) -> None:
    for name, d_in, d_out in projections(attached.host, options.at):
        attached.beside(name, Kronecker(*shapes(d_in, d_out, options), options.scale))


def shapes(d_in: int, d_out: int, options: Options) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of A and B."""
    rows, columns = divisor(d_out, options.a_out, "a_out"), divisor(d_in, options.a_in, "a_in")
    return (rows, columns), (d_out // rows, d_in // columns)


def divisor(width: int, wanted: int, option: str) -> int:
    """The one that is wanted, or that nearest the square root. Raises `CutawayError` if what is wanted does not divide."""
    able = [n for n in range(1, width + 1) if width % n == 0]
    if not wanted:
        return min(able, key=lambda n: max(n, width // n))
    if wanted not in able:
        raise CutawayError(
            f"{option} is {wanted}, which does not divide {width}: give one of {', '.join(map(str, able))}"
        )
    return wanted


def count(model: nn.Module, options: Options) -> int:
    pairs = (shapes(d_in, d_out, options) for _, d_in, d_out in projections(model, options.at))
    return sum(a[0] * a[1] + b[0] * b[1] for a, b in pairs)


METHOD = Method(
    name="krona",
    kind="reparameterised",
    about="a Kronecker product beside projections",
    citation="Edalati et al. 2022, KronA: parameter efficient tuning with Kronecker adapter (arXiv 2212.10650)",
    options=Options,
    attach=attach,
    count=count,
    mergeable=True,
)
