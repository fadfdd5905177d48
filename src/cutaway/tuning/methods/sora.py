"""SoRA: LoRA with a gate for each rank, and gates that are not needed go to exactly zero.

Ding et al. 2023, Sparse low-rank adaptation of pre-trained language models (EMNLP, arXiv 2311.11696), §3:

    h = W x + (α / r) B (g ⊙ A x)        A [r, in] and g [r] random, B [out, r] = 0 at the beginning
    g ← T(g − η ∂L/∂g)                   T(g) = sign(g) max(|g| − ξ, 0) after each step

It trains r (in + out + 1) parameters for each projection. The step of g is the optimiser's, whichever that is, and T follows it.
By the paper's schedule ξ rises in stages, from `threshold` to `until`, and the gates close one after another. Merged, only what
a gate has left open is there; `tuned.attached.ranks()` tells how many that are.
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
    """Of SoRA."""

    at: tuple[str, ...] = ("attn_q", "attn_v", "attn_qkv")
    """Which projections: roles or patterns; roles that a family does not have are left out."""
    rank: int = 8
    """The highest, r."""
    alpha: float = 16.0
    """α."""
    threshold: float = 3e-4
    """ξ: by how much each gate goes towards zero after a step."""
    until: float = 0.0
    """ξ in the last stage; 0 for one that stays."""
    stages: int = 7
    """Of as many steps each, on the way there."""


class Gated(Difference):
    def __init__(self, rank: int, d_in: int, d_out: int, alpha: float):
        super().__init__()
        self.a, self.b = low_rank(rank, d_in, d_out)
        self.gate = nn.Parameter(torch.randn(rank))
        self.scale = alpha / rank

    def difference(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        return self.scale * (x @ self.a.T * self.gate @ self.b.T)

    def built(self) -> Float[Tensor, "d_out d_in"]:
        open_ = self.gate != 0
        return self.scale * (self.b[:, open_] * self.gate[open_]) @ self.a[open_]


class Pruned(Attached):
    besides: dict[str, Gated]  # type: ignore[assignment]
    options: Options

    @torch.no_grad()
    def after_step(self, step: int, total: int) -> None:
        for each in self.besides.values():
            each.gate.copy_(nn.functional.softshrink(each.gate, threshold(self.options, step, total)))

    def ranks(self) -> dict[str, int]:
        """Gates that are open, by the name of the projection."""
        return {name: int((each.gate != 0).sum()) for name, each in self.besides.items()}


def threshold(options: Options, step: int, total: int) -> float:
    """ξ after a step, counted from 1: equally far from stage to stage."""
    if not options.until or options.stages == 1:
        return options.until or options.threshold
    stage = (step - 1) * options.stages // total
    return options.threshold + (options.until - options.threshold) * stage / (options.stages - 1)


def attach(attached: Pruned, options: Options) -> None:
    if min(options.threshold, options.until) < 0 or options.stages < 1:
        raise CutawayError(
            f"threshold is {options.threshold}, until {options.until}, stages {options.stages}: give at least 0, 0 and 1"
        )
    attached.options = options
    for name, d_in, d_out in projections(attached.host, options.at, options.rank):
        attached.beside(name, Gated(options.rank, d_in, d_out, options.alpha))


def count(model: nn.Module, options: Options) -> int:
    return sum(options.rank * (d_in + d_out + 1) for _, d_in, d_out in projections(model, options.at, options.rank))


METHOD = Method(
    name="sora",
    kind="reparameterised",
    about="LoRA whose ranks are gated, and closed where not needed",
    citation="Ding et al. 2023, Sparse low-rank adaptation of pre-trained language models (EMNLP, arXiv 2311.11696), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=Pruned,
    mergeable=True,
)
