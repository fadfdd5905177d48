"""ProPETL: one adapter for all layers, of which each layer sees its own part through a mask that learns.

Zeng, Zhang & Lu 2023, One network, many masks: towards more parameter-efficient transfer learning (ACL, arXiv 2305.17682), §3: the
weights W of a prototype are shared by all layers, a layer l has scores S_l for each of its matrices, and

    W_l = W ⊙ m_l        m_l = 1 where S_l is among its share of largest entries, 0 elsewhere
    ∂L/∂S_l := ∂L/∂m_l   (straight through)

With these matrices in the place of its own a layer has an adapter, h ← h + W_up σ(W_down h + b_down) + b_up with shared biases, or
LoRA (`kind=lora`), h = W₀ x + (α / m) W_up W_down x. W_up = 0 at the beginning, biases too.

It trains, with the width m and in and out of a place (both d for an adapter), m (in + out) parameters, for adapters and m + d, once
for all places of a role and shape, and as many scores m (in + out) for each place. In use a score is one bit, and so it is on disk:
masks that were read say what they said, but which of two entries is nearer to being switched is forgotten.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import ON_DISK, Attached, Beside, linear
from cutaway.tuning.bits import packed, unpacked
from cutaway.tuning.method import Method
from cutaway.tuning.methods.adapter import ACTIVATIONS
from cutaway.tuning.places import Place, chosen

PLACES = {"adapter": ("ffn_down",), "lora": ("attn_q", "attn_v", "attn_qkv")}
"""Where what kind is, if nothing else was said."""
STD = 0.01
"""Of scores at the beginning: small, so that they are switched at the rate of the weights. The authors give them another rate,
30 times as high, and begin further from the threshold."""
HALVES = ("down_scores", "up_scores")


@dataclass(frozen=True)
class Options:
    """Of ProPETL."""

    kind: Literal["adapter", "lora"] = "adapter"
    """What the prototype is."""
    at: tuple[str, ...] = ()
    """At which projections: roles or patterns; nothing for ffn_down, or attn_q, attn_v and attn_qkv for LoRA."""
    width: int = 48
    """Of the adapter, or rank of LoRA, m."""
    share: float = 0.5
    """Of a matrix's entries that a layer sees."""
    alpha: float = 16.0
    """α, of LoRA."""
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """σ, of adapters."""


class Top(torch.autograd.Function):
    """1 at the k largest entries and 0 elsewhere, with the gradient of the scores themselves."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, k: int) -> Tensor:
        return torch.zeros_like(scores).flatten().index_fill_(0, scores.flatten().topk(k).indices, 1).view_as(scores)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


class Prototype(nn.Module):
    """What all layers share."""

    def __init__(self, into: int, out: int, options: Options):
        super().__init__()
        biased = options.kind == "adapter"
        self.down, self.up = nn.Linear(into, options.width, bias=biased), nn.Linear(options.width, out, bias=biased)
        nn.init.normal_(self.down.weight, std=0.01 if biased else into**-0.5)
        nn.init.zeros_(self.up.weight)
        if biased:
            nn.init.zeros_(self.down.bias)
            nn.init.zeros_(self.up.bias)


class Seen(Beside):
    """A layer's part of the prototype."""

    def __init__(self, prototype: Prototype, options: Options):
        super().__init__()
        self.prototype, self.options = prototype, options
        self.down_scores, self.up_scores = (
            nn.Parameter(STD * torch.randn_like(half.weight)) for half in (prototype.down, prototype.up)
        )

    def mask(self, scores: Float[Tensor, "out into"]) -> Float[Tensor, "out into"]:
        return Top.apply(scores, max(1, round(self.options.share * scores.numel())))

    def forward(self, x: Float[Tensor, "*some into"]) -> Float[Tensor, "*some out"]:
        (down, up), adapts = (self.prototype.down, self.prototype.up), self.options.kind == "adapter"
        inner = nn.functional.linear(x, down.weight * self.mask(self.down_scores), down.bias)
        inner = (
            ACTIVATIONS[self.options.activation](inner) if adapts else self.options.alpha / self.options.width * inner
        )
        return nn.functional.linear(inner, up.weight * self.mask(self.up_scores), up.bias)

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self(y if self.options.kind == "adapter" else x)


class Masks(Attached):
    """On disk a mask has a bit for each score."""

    besides: dict[str, Seen]  # type: ignore[assignment]

    def scores(self) -> dict[str, tuple[Seen, nn.Parameter]]:
        return {f"{name}.{half}": (seen, getattr(seen, half)) for name, seen in self.besides.items() for half in HALVES}

    def to_disk(self) -> dict[str, Tensor]:
        masks = {f"{ON_DISK}{name}": packed(seen.mask(x)) for name, (seen, x) in self.scores().items()}
        return super().to_disk() | masks

    def from_disk(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors = super().from_disk(tensors)
        mine = {name: x for name, (_, x) in self.scores().items() if name in tensors}
        return tensors | {name: 2 * STD * (unpacked(tensors[name], x) - 0.5) for name, x in mine.items()}


def groups(model: nn.Module, options: Options) -> dict[tuple[str, int, int], list[Place]]:
    """Places that share a prototype, by role and width in and out.

    Raises:
        CutawayError: a width or share that makes no sense; or as `chosen`.
    """
    if not 0 < options.share <= 1:
        raise CutawayError(f"share is {options.share}: give more than 0, at most 1")
    found: dict[tuple[str, int, int], list[Place]] = {}
    for place in chosen(model, options.at or PLACES[options.kind]):
        into, out = linear(model.get_submodule(place.name))
        into = out if options.kind == "adapter" else into
        if not 1 <= options.width < min(into, out):
            raise CutawayError(f"width is {options.width}: give at least 1, and less than {min(into, out)}")
        found.setdefault((place.role, into, out), []).append(place)
    return found


def attach(attached: Masks, options: Options) -> None:
    for (_, into, out), alike in groups(attached.host, options).items():
        prototype = Prototype(into, out, options)
        for place in alike:
            attached.beside(place.name, Seen(prototype, options))


def count(model: nn.Module, options: Options) -> int:
    total = 0
    for (_, into, out), alike in groups(model, options).items():
        biases = options.width + out if options.kind == "adapter" else 0
        total += options.width * (into + out) * (1 + len(alike)) + biases
    return total


METHOD = Method(
    name="propelt",
    kind="unified",
    about="one adapter for all layers, seen through a mask by each",
    citation="Zeng, Zhang & Lu 2023, One network, many masks (ACL, arXiv 2305.17682), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=Masks,
)
