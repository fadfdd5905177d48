"""Threshold mask: no weight is changed, but some are switched off.

Zhao, Lin, Mi, Jaggi & Schütze 2020, Masking as an efficient alternative to finetuning for pretrained language models (EMNLP, arXiv
2004.12406). Each entry of a weight has a real-valued score M; with a threshold τ

    W ← W ⊙ 1[M ≥ τ]        ∂L/∂M := ∂L/∂1[M ≥ τ] (straight through)

Scores are uniform at the beginning, so that a share `sparsity` of them lies below τ: the model says something else from the
beginning. It trains as many parameters as the weights in `at` have entries. On disk there is one bit for each; a mask that was read
says what it said, but its scores are all as far from τ.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import ON_DISK, Attached, Change
from cutaway.tuning.bits import packed, unpacked
from cutaway.tuning.difference import projections
from cutaway.tuning.method import Method


@dataclass(frozen=True)
class Options:
    """Of a threshold mask."""

    at: tuple[str, ...] = ("attn_q", "attn_k", "attn_v", "attn_qkv", "attn_o", "ffn_gate", "ffn_up", "ffn_down")
    """Which projections: roles or patterns; roles that a family does not have are left out."""
    sparsity: float = 0.05
    """Share of the entries that are off at the beginning."""
    threshold: float = 0.01
    """τ."""
    width: float = 0.02
    """Between the lowest and the highest score at the beginning: the narrower, the fewer steps does it take to switch an entry."""


class Straight(torch.autograd.Function):
    """1[M ≥ τ], with the gradient of M itself."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, threshold: float) -> Tensor:
        return (scores >= threshold).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


class Masked(Change):
    def __init__(self, weight: Tensor, options: Options):
        super().__init__()
        self.threshold, self.width = options.threshold, options.width
        lowest = options.threshold - options.sparsity * options.width
        self.scores = nn.Parameter(torch.rand_like(weight) * options.width + lowest)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * Straight.apply(self.scores, self.threshold)

    def bits(self) -> UInt8[Tensor, "bytes"]:
        """The mask."""
        return packed(self.scores >= self.threshold)

    def scores_of(self, bits: UInt8[Tensor, "bytes"]) -> Tensor:
        """Scores half a width above and below the threshold."""
        return (unpacked(bits, self.scores) - 0.5) * self.width + self.threshold


class Masks(Attached):
    changes: dict[str, Masked]  # type: ignore[assignment]

    def to_disk(self) -> dict[str, Tensor]:
        masks = {f"{ON_DISK}{name}.scores": change.bits() for name, change in self.changes.items()}
        return super().to_disk() | masks

    def from_disk(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors = super().from_disk(tensors)
        bits = {name: key for name in self.changes if (key := f"{name}.scores") in tensors}
        return tensors | {key: self.changes[name].scores_of(tensors[key]) for name, key in bits.items()}


def attach(attached: Masks, options: Options) -> None:
    if not 0 <= options.sparsity < 1 or options.width <= 0:
        raise CutawayError(
            f"sparsity is {options.sparsity}, width {options.width}: give 0 or more below 1, and more than 0"
        )
    for name, *_ in projections(attached.host, options.at):
        attached.on_weight(f"{name}.weight", Masked(attached.own(f"{name}.weight").detach(), options))


def count(model: nn.Module, options: Options) -> int:
    return sum(d_in * d_out for _, d_in, d_out in projections(model, options.at))


METHOD = Method(
    name="threshold_mask",
    kind="partial",
    about="a learned mask that switches weights off",
    citation="Zhao et al. 2020, Masking as an efficient alternative to finetuning (EMNLP, arXiv 2004.12406)",
    options=Options,
    attach=attach,
    count=count,
    attached=Masks,
    mergeable=True,
    starts_unchanged=False,
)
