"""Losses of a language model without the logits of all its positions.

With V words in a vocabulary, logits take V numbers a position: in a small model they are the largest tensor of a training step,
and cross entropy holds several as large. Here only positions that have a target are unembedded, some at a time, so that no more
than the logits of one piece exist at once:

    hidden, unembed = before_unembedding(model, input_ids=tokens, attention_mask=mask)
    losses = token_losses(hidden, unembed, next_tokens(tokens, mask))
    (losses.sums / losses.counts.clamp(min=1)).mean().backward()

A loss depends on its own position's state alone. So where nothing learns in the unembedding, slopes of a piece are taken while its
logits are there, and backward only multiplies by what comes in (as Liger does, Hsu et al. 2024, arXiv 2410.10989; Wijmans et al.
2024, arXiv 2411.09009, cut further). Where something learns, logits of a piece are computed again in backward, as its weight's
slopes need what comes in. The unembedding is called, whatever it is: tied, parametrised, or with something beside it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from cutaway.core.errors import CutawayError

NO_TARGET = -100
PIECE = 2**23
"""Logits at once, unless told otherwise: 32 MiB of float32."""


@dataclass(frozen=True)
class TokenLosses:
    """Of each example."""

    sums: Float[Tensor, "batch"]
    """Negative log-likelihoods of its targets, added up, in nats; float32 or more. 0 without targets."""
    counts: Int[Tensor, "batch"]
    """How many targets it has."""


@dataclass(frozen=True)
class TokenScores:
    """Of each example; nothing has a gradient."""

    log_likelihoods: Float[Tensor, "batch"]
    """Of its targets, added up, in nats."""
    tokens: Int[Tensor, "batch"]
    """How many targets it has."""
    right: Int[Tensor, "batch"]
    """How many of them are the most likely token; of several that are equally likely, the first one counts."""


def token_losses(
    hidden: Float[Tensor, "batch pos d_model"],
    unembed: nn.Module,
    targets: Int[Tensor, "batch pos"],
    *,
    piece: int = PIECE,
) -> TokenLosses:
    """Negative log-likelihoods of targets, with gradients to `hidden` and to what learns in `unembed`.

    Args:
        unembed: from states [..., d_model] to logits [..., vocabulary], each position by itself.
        targets: the token that a position is to tell, −100 where there is none.
        piece: so many logits are there at once, or those of one position.

    Raises:
        CutawayError: shapes differ, or a target is outside the vocabulary.
    """
    there, rows, wanted = _targets(hidden, targets)
    each = rows.sum(1)  # of a batch without targets: nothing, that backward goes through
    if len(wanted):
        size, learns = _probe(unembed, rows, wanted, piece)
        if not torch.is_grad_enabled() or not (learns or rows.requires_grad):
            each = _each(rows, wanted, size, lambda x, y: _losses(unembed, x, y))
        elif learns:
            each = _each(rows, wanted, size, lambda x, y: _again(unembed, x, y))
        else:
            each = _Known.apply(rows, *_with_slopes(unembed, rows, wanted, size))
    sums = hidden.new_zeros(targets.shape, dtype=_wide(hidden.dtype))
    sums = sums.masked_scatter(there, each.to(sums.dtype))
    return TokenLosses(sums.sum(1), there.sum(1))


@torch.no_grad()
def token_scores(
    hidden: Float[Tensor, "batch pos d_model"],
    unembed: nn.Module,
    targets: Int[Tensor, "batch pos"],
    *,
    piece: int = PIECE,
) -> TokenScores:
    """Log-likelihoods of targets, and how many of them are the most likely token. Arguments and errors as `token_losses`."""
    there, rows, wanted = _targets(hidden, targets)
    sums, right = hidden.new_zeros(targets.shape, dtype=_wide(hidden.dtype)), torch.zeros_like(there)
    if len(wanted):
        size, _ = _probe(unembed, rows, wanted, piece)
        found = [_scores(unembed, x, y) for x, y in _pieces(rows, wanted, size)]
        each, hits = (torch.cat(some) for some in zip(*found, strict=True))
        sums, right = sums.masked_scatter(there, each.to(sums.dtype)), right.masked_scatter(there, hits)
    return TokenScores(-sums.sum(1), there.sum(1), right.sum(1))


def next_tokens(
    tokens: Int[Tensor, "batch pos"], mask: Int[Tensor, "batch pos"] | None = None
) -> Int[Tensor, "batch pos"]:
    """What each position of a causal model is to tell: the token after it; −100 at the last, and where `mask` is 0 there."""
    kept = tokens if mask is None else tokens.masked_fill(mask == 0, NO_TARGET)
    return nn.functional.pad(kept[:, 1:], (0, 1), value=NO_TARGET)


def before_unembedding(model: nn.Module, **inputs: Any) -> tuple[Float[Tensor, "batch pos d_model"], nn.Module]:
    """Runs a language model of `transformers`, tuned or not, without its unembedding: what comes into that, and the unembedding.

    Raises:
        CutawayError: the model has none.
    """
    head = unembedding(model)
    with _passed_by(model, head):
        return model(**inputs).logits, head


def unembedding(model: Any) -> nn.Module:
    """From states to logits; raises `CutawayError` for a model that has none."""
    found = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if not isinstance(found, nn.Module):
        raise CutawayError(
            f"{type(model).__name__} says no words: give a model with an unembedding, such as smollm2-135m"
        )
    return found


# --- pieces -----------------------------------------------------------------------------------------------------------


class _Known(torch.autograd.Function):
    """Losses [n] of rows [n, d], the slope of each by its own row known already."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, losses: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(slopes)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (slopes,) = ctx.saved_tensors
        return (grad[:, None] * slopes).to(slopes.dtype), None, None


def _with_slopes(unembed: nn.Module, rows: Tensor, wanted: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Losses, and their slopes by rows; each piece's logits are gone before the next one's."""
    losses, slopes = rows.new_empty(len(rows), dtype=_wide(rows.dtype)), torch.empty_like(rows)
    at = 0
    for x, y in _pieces(rows.detach(), wanted, size):
        with torch.enable_grad():
            x = x.requires_grad_()
            each = _losses(unembed, x, y)
            (slope,) = torch.autograd.grad(each.sum(), x)
        losses[at : at + len(x)], slopes[at : at + len(x)] = each.detach(), slope
        at += len(x)
    return losses, slopes


def _again(unembed: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """As `_losses`, of which nothing is kept for the gradient but the arguments."""
    found = checkpoint(_losses, unembed, x, y, use_reentrant=False)
    assert isinstance(found, Tensor)
    return found


def _losses(unembed: nn.Module, x: Float[Tensor, "n d_model"], y: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    return cross_entropy(_logits(unembed, x), y, reduction="none")


def _scores(unembed: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    logits = _logits(unembed, x)
    return cross_entropy(logits, y, reduction="none"), logits.argmax(-1) == y


def _logits(unembed: nn.Module, x: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocabulary"]:
    """Called on [1, n, d_model], as what is beside a module may know batches of positions alone."""
    logits = unembed(x[None])[0]
    return logits.to(_wide(logits.dtype))


def _each(rows: Tensor, wanted: Tensor, size: int, of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return torch.cat([of(x, y) for x, y in _pieces(rows, wanted, size)])


def _pieces(rows: Tensor, wanted: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(rows.split(size), wanted.split(size), strict=True)


def _probe(unembed: nn.Module, rows: Tensor, wanted: Tensor, piece: int) -> tuple[int, bool]:
    """How many rows make a piece, and whether something learns in the unembedding, or beside it: by asking it for one row."""
    logits = _logits(unembed, rows[:1].detach())
    vocabulary = logits.shape[-1]
    if wanted.min() < 0 or wanted.max() >= vocabulary:
        raise CutawayError(f"a target is not one of {vocabulary} tokens: give 0 to {vocabulary - 1}, or {NO_TARGET}")
    return max(1, piece // vocabulary), logits.requires_grad


def _targets(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where there are some [batch, pos], states there [n, d_model], and the targets [n]."""
    if hidden.shape[:2] != targets.shape:
        raise CutawayError(
            f"states are {list(hidden.shape[:2])}, targets {list(targets.shape)}: give one for each position"
        )
    there = targets != NO_TARGET
    return there, hidden[there], targets[there].long()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


@contextmanager
def _passed_by(model: nn.Module, head: nn.Module) -> Iterator[None]:
    """Where the unembedding is, states pass unchanged for a while."""
    spots = [(owner, name) for owner in model.modules() for name, x in owner._modules.items() if x is head]
    try:
        for owner, name in spots:
            setattr(owner, name, nn.Identity())
        yield
    finally:
        for owner, name in spots:
            setattr(owner, name, head)
