"""DyLoRA: LoRA that works at every rank up to its own, because in each step another one is trained.

Valipour et al. 2023, DyLoRA: parameter-efficient tuning of pretrained models using dynamic search-free low-rank adaptation (EACL,
arXiv 2210.07558). In each step b is drawn from {1, …, r}, the same for all projections, and only the first b rows of A and columns
of B are there:

    h = W x + (α / b) B[:, :b] A[:b] x        A [r, in] random, B [out, r] = 0 at the beginning

With `only_last` only the b-th row and column learn in that step. It trains r (in + out) parameters for each projection. After
training, `tuned.attached.at_rank(b)` sets at which rank it works and is merged; at first that is r.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached
from cutaway.tuning.difference import Difference, low_rank, projections
from cutaway.tuning.method import Method


@dataclass(frozen=True)
class Options:
    """Of DyLoRA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns; roles that a family does not have are left out."""
    rank: int = 8
    """The highest, r."""
    alpha: float = 16.0
    """α."""
    only_last: bool = False
    """Leave the rows and columns before the b-th as they are in a step with b."""


class Nested(Difference):
    """LoRA that is cut off at a rank: at the one that was drawn in training, at the one that is wanted otherwise."""

    def __init__(self, rank: int, d_in: int, d_out: int, alpha: float, only_last: bool):
        super().__init__()
        self.a, self.b = low_rank(rank, d_in, d_out)
        self.alpha, self.only_last = alpha, only_last
        self.drawn = self.wanted = rank

    def difference(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        rank = self.drawn if self.training else self.wanted
        a, b = self.a[:rank], self.b[:, :rank]
        if self.training and self.only_last:
            a = torch.cat((a[:-1].detach(), a[-1:]))
            b = torch.cat((b[:, :-1].detach(), b[:, -1:]), dim=1)
        return self.alpha / rank * (x @ a.T @ b.T)

    def built(self) -> Float[Tensor, "d_out d_in"]:
        return self.alpha / self.wanted * self.b[:, : self.wanted] @ self.a[: self.wanted]


class Dynamic(Attached):
    """Draws a rank for each step, by torch's own random numbers."""

    besides: dict[str, Nested]  # type: ignore[assignment]
    rank: int

    def at_rank(self, rank: int) -> None:
        """From now on it works at this rank. Raises `CutawayError` for one that it does not have."""
        if not 1 <= rank <= self.rank:
            raise CutawayError(f"rank is {rank}: this one was trained for 1 to {self.rank}")
        for each in self.besides.values():
            each.wanted = rank

    def draw(self) -> None:
        """The rank of the next step."""
        rank = int(torch.randint(1, self.rank + 1, ()))
        for each in self.besides.values():
            each.drawn = rank

    def after_step(self, step: int, total: int) -> None:
        self.draw()

    def state(self) -> dict[str, Tensor]:
        return {"drawn": torch.tensor([each.drawn for each in self.besides.values()])}

    def put_state(self, state: dict[str, Tensor]) -> None:
        for each, drawn in zip(self.besides.values(), state["drawn"].tolist(), strict=True):
            each.drawn = drawn


def attach(attached: Dynamic, options: Options) -> None:
    attached.rank = options.rank
    for name, d_in, d_out in projections(attached.host, options.at, options.rank):
        attached.beside(name, Nested(options.rank, d_in, d_out, options.alpha, options.only_last))
    attached.draw()


def count(model: nn.Module, options: Options) -> int:
    return sum(options.rank * (d_in + d_out) for _, d_in, d_out in projections(model, options.at, options.rank))


METHOD = Method(
    name="dylora",
    kind="reparameterised",
    about="LoRA that works at every rank up to its own",
    citation="Valipour et al. 2023, DyLoRA (EACL, arXiv 2210.07558)",
    options=Options,
    attach=attach,
    count=count,
    attached=Dynamic,
    mergeable=True,
)
