"""log Z of a chain, and its derivatives: the forward and the backward algorithm as products of matrices (Rabiner 1989, §III).

With x_t = exp(emission − its largest), W = exp(transition − its largest), and every row scaled to the sum 1 by c_t,

    αₜ = (αₜ₋₁ W) ∘ xₜ / cₜ        βₜ₋₁ = ((xₜ ∘ βₜ) Wᵀ) / cₜ        log Z = Σₜ log cₜ + what was taken out

A step is one product, where the sum over pairs of tags in logarithms is tags² exponentials; and all derivatives fall out of α and
β: those by the emissions are the marginals α ∘ β, that by a transition is the expected number of its uses. All is computed in
double precision, so that a tag may be e⁶⁹⁰ times less likely than another and still count.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

TINY = 1e-300
"""The least that all ways to a word may weigh together, beside the likeliest ones to the word before."""


def log_partition(
    emissions: Float[Tensor, "batch word tag"],
    transition: Float[Tensor, "tag tag"],
    start: Float[Tensor, " tag"],
    end: Float[Tensor, " tag"],
    lengths: Int[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """log Σ exp score(y) over all tag sequences y of each sentence; differentiable once, by all but the lengths."""
    return _LogPartition.apply(emissions, transition, start, end, lengths)


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, emissions: Tensor, transition: Tensor, start: Tensor, end: Tensor, lengths: Tensor
    ) -> Float[Tensor, " batch"]:
        batch, words, _ = emissions.shape
        real = torch.arange(words, device=lengths.device)[:, None] < lengths
        scores = emissions.transpose(0, 1).double().masked_fill(~real[..., None], 0)
        scores, top = _scaled(scores)
        weights, leap = _scaled(transition.double(), (0, 1))
        first, last = _scaled(start.double()), _scaled(end.double())
        alpha, scale = torch.empty_like(scores), torch.empty_like(top)
        for t in range(words):
            came = torch.mul(first[0] if t == 0 else alpha[t - 1] @ weights, scores[t])
            torch.sum(came, 1, keepdim=True, out=scale[t]).clamp_(min=TINY)
            torch.div(came, scale[t], out=alpha[t])
        rows = torch.arange(batch, device=lengths.device)
        final = (alpha[lengths - 1, rows] @ last[0]).clamp(min=TINY)
        found = ((scale.log() + top)[..., 0] * real).sum(0) + leap[0] * (lengths - 1) + first[1] + last[1] + final.log()
        ctx.save_for_backward(lengths, scores, weights, last[0], alpha, scale, final)
        ctx.dtypes = [x.dtype for x in (emissions, transition, start, end)]
        return found.to(emissions.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[bad-override]
        lengths, scores, weights, last, alpha, scale, final = ctx.saved_tensors
        words, slope = len(scores), slopes[0].double()[:, None]
        # slopes are taken along: beta of a sentence is multiplied by the derivative of what follows by its log Z
        ending, back = slope * last / final[:, None], weights.T.contiguous()
        beta = torch.zeros_like(alpha)
        into = torch.zeros_like(alpha)  # xₜ ∘ βₜ / cₜ: what a way into a tag of word t is worth
        for t in reversed(range(words)):
            if t + 1 < words:
                torch.matmul(into[t + 1], back, out=beta[t])
            beta[t] = torch.where((lengths == t + 1)[:, None], ending, beta[t])
            into[t] = scores[t] * beta[t] / scale[t]
        marginals = alpha * beta
        uses = (alpha[:-1].flatten(0, 1).T @ into[1:].flatten(0, 1)) * weights
        at_end = marginals[lengths - 1, torch.arange(len(lengths), device=lengths.device)]
        found = (marginals.transpose(0, 1), uses, marginals[0].sum(0), at_end.sum(0))
        return *(x.to(dtype) for x, dtype in zip(found, ctx.dtypes, strict=True)), None


def _scaled(scores: Tensor, axes: int | tuple[int, ...] = -1) -> tuple[Tensor, Tensor]:
    """exp(scores − their largest), and the largest."""
    top = scores.amax(axes, keepdim=True)
    return (scores - top).exp(), top
