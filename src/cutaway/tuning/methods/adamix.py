"""AdaMix: several adapters at each place, one drawn at random for each batch in training, their average in use.

Wang, Agarwal, Mukherjee, Liu, Gao, Awadallah & Gao 2022, AdaMix: mixture-of-adaptations for parameter-efficient model tuning
(EMNLP, arXiv 2205.12410), §3: with M experts, in training i and j are drawn anew for each call and each place,

    h ← h + W_up,j σ(W_down,i h + b_down,i) + b_up,j        W_up = b_up = 0 at the beginning

and to the loss is added, with the outputs p and p′ of the same batch by two draws (§3.2),

    c · ½ (KL(p ‖ p′) + KL(p′ ‖ p))                         for one output, a regression: c · (y − y′)²

Outside training it is one adapter, whose weights are the means over the experts (§3.3). Experts may share one of their two
projections (§3.4, `shared`). It trains M (2 m d + m + d) parameters behind each of the chosen projections, of a shared half only
one.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached, Beside, linear
from cutaway.tuning.method import Method
from cutaway.tuning.methods.adapter import ACTIVATIONS, Bottleneck
from cutaway.tuning.places import chosen


@dataclass(frozen=True)
class Options:
    """Of AdaMix."""

    at: tuple[str, ...] = ("ffn_down",)
    """Behind which projections: roles or patterns."""
    experts: int = 4
    """M."""
    width: int = 16
    """Of an adapter, m."""
    shared: Literal["none", "down", "up"] = "none"
    """The half that all experts of a place have in common."""
    consistency: float = 1.0
    """c; 0 for one call of the model in a step instead of two."""
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """σ."""


class Experts(Beside):
    """Adapters of which one is at work; weights of all experts in one tensor."""

    def __init__(self, d_model: int, options: Options):
        super().__init__()
        many = [Bottleneck(d_model, options.width, options.activation) for _ in range(options.experts)]
        self.activation = ACTIVATIONS[options.activation]
        self.down, self.down_bias, self.up, self.up_bias = (
            nn.Parameter(
                torch.stack([getattr(getattr(one, half), key) for one in many[: _kept(options, half)]]).detach()
            )
            for half in ("down", "up")
            for key in ("weight", "bias")
        )

    def around(self, host: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        inner = self.activation(nn.functional.linear(y, *self._drawn(self.down, self.down_bias)))
        return y + nn.functional.linear(inner, *self._drawn(self.up, self.up_bias))

    def _drawn(self, *all_of: Tensor) -> list[Tensor]:
        """Those of one expert; outside training the means."""
        if not self.training:
            return [x.mean(0) for x in all_of]
        which = int(torch.randint(len(all_of[0]), ()))
        return [x[which] for x in all_of]


class Mixture(Attached):
    """Calls the model twice for a step, and adds to its loss how far the two outputs are from each other."""

    compares = True
    consistency = 0.0
    called: tuple[tuple, dict, Tensor] | None = None
    """With what the model was called, and its output."""

    def begin(self, consistency: float) -> None:
        """Has every call in training remembered, until `loss` was asked for."""
        self.consistency = consistency
        if consistency:
            self.hold(self.host.register_forward_hook(self.remember, with_kwargs=True))

    def remember(self, model: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        if model.training and self.active and torch.is_grad_enabled():
            self.called = args, kwargs, self.of(output)

    def loss(self) -> Tensor | None:
        if self.called is None:
            return None
        args, kwargs, first = self.called
        second = self.of(self.host(*args, **kwargs))
        self.called = None
        return self.consistency * apart(first, second)

    def of(self, output: Any) -> Tensor:
        """The answers in an output."""
        return self.answers(output) if self.answers is not None else _logits(output)


def apart(first: Float[Tensor, "*some outputs"], second: Float[Tensor, "*some outputs"]) -> Float[Tensor, ""]:
    """The symmetric divergence of two outputs, in nats, the mean over texts or positions; for one output the squared difference."""
    if first.shape[-1] == 1:
        return (first - second).square().mean()
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    return 0.5 * ((p.exp() - q.exp()) * (p - q)).sum(-1).mean()


def _logits(output: Any) -> Tensor:
    found = getattr(output, "logits", output[0] if isinstance(output, tuple) else output)
    if not isinstance(found, Tensor):
        raise CutawayError(
            f"{type(output).__name__} has no logits to compare: give the model a head, or take consistency=0"
        )
    return found


def _kept(options: Options, half: str) -> int:
    """How many experts have this half as their own."""
    return 1 if options.shared == half else options.experts


def attach(attached: Mixture, options: Options) -> None:
    if options.experts < 1 or options.consistency < 0:
        raise CutawayError(
            f"experts is {options.experts}, consistency {options.consistency}: give at least 1, and at least 0"
        )
    for place in chosen(attached.host, options.at):
        _, d_model = linear(attached.host.get_submodule(place.name))
        attached.beside(place.name, Experts(d_model, options))
    attached.begin(options.consistency)


def count(model: nn.Module, options: Options) -> int:
    m, downs, ups = options.width, _kept(options, "down"), _kept(options, "up")
    widths = (linear(model.get_submodule(place.name))[1] for place in chosen(model, options.at))
    return sum(downs * (m * d + m) + ups * (m * d + d) for d in widths)


METHOD = Method(
    name="adamix",
    kind="unified",
    about="several adapters, one at random in training, their average in use",
    citation="Wang et al. 2022, AdaMix (EMNLP, arXiv 2205.12410), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=Mixture,
)
