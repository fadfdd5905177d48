"""One layer's share of a distance: Σ_c w_c (a_c/(‖a‖ + ε) − b_c/(‖b‖ + ε))² at each place, and its gradient (LPIPS, eq. 1).

ε = 1e-10 stands outside the root as in the published code, so that values are the published ones. Where all channels are 0, as
ReLU leaves them, the gradient of ‖a‖ is 0/0 and the published code gives NaN; here the gradient there is 0, which is what ReLU
makes of it anyway. It is written by hand for that, and because it needs no more than the features themselves to be kept.

Half precision is compared in float32.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

EPS = 1e-10

Features = Float[Tensor, "batch channel h w"]
Other = Float[Tensor, "other_batch channel h w"]
Weights = Float[Tensor, " channel"]
Places = Float[Tensor, "pair h w"]


def term(a: Features, b: Other, weight: Weights) -> Places:
    """The weighted squared distance between the directions of two features, at each place; differentiable by all three. Either may
    be one for all of the other's batch.
    """
    a, b = _wide(a), _wide(b)
    return _Term.apply(a, b, weight.to(a.dtype))  # type: ignore[return-value]


def squares(a: Features, b: Other) -> Float[Tensor, "pair channel h w"]:
    """(a/(‖a‖ + ε) − b/(‖b‖ + ε))², channel by channel."""
    difference = _difference(_wide(a), _wide(b))
    return difference * difference


class _Term(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, weight)
        return _difference(a, b).square_().movedim(1, -1) @ weight

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """With u = a/(‖a‖ + ε), v = b/(‖b‖ + ε) and g = ∂/∂u = 2 w (u − v): ∂/∂a = (g − u (u·g)(‖a‖ + ε)/‖a‖) / (‖a‖ + ε)."""
        a, b, weight = ctx.saved_tensors
        need_a, need_b, need_weight = ctx.needs_input_grad
        (scale_a, stretch_a), (scale_b, stretch_b) = _scales(a), _scales(b)
        u, v, at = a * scale_a, b * scale_b, outer[0][:, None]
        difference = u - v
        slope = difference * (2 * weight)[:, None, None]
        grad_a = _through(slope, u, at * scale_a, stretch_a).sum_to_size(a.shape) if need_a else None
        grad_b = _through(slope, v, -at * scale_b, stretch_b).sum_to_size(b.shape) if need_b else None
        grad_weight = (difference * difference * at).sum((0, 2, 3)) if need_weight else None
        return grad_a, grad_b, grad_weight


def _through(slope: Tensor, unit: Tensor, factor: Tensor, stretch: Tensor) -> Tensor:
    """From the gradient of a direction to that of the features, times a factor at each place."""
    along = (slope * unit).sum(1, keepdim=True) * stretch
    return torch.addcmul(slope, unit, along, value=-1) * factor


def _scales(x: Tensor) -> tuple[Tensor, Tensor]:
    """1 / (‖x‖ + ε), and (‖x‖ + ε) / ‖x‖; both 0 where ‖x‖ is."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    there = length > 0
    return torch.where(there, 1 / (length + EPS), 0), torch.where(there, 1 + EPS / torch.where(there, length, 1), 0)


def _difference(a: Tensor, b: Tensor) -> Tensor:
    u, v = (x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + EPS) for x in (a, b))
    return u - v


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
