"""Rotary positions: which angle each token is turned by, and the turning."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.config import Rope

SCALINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
"""The rescalings we know, and what a checkpoint must say for each."""


def checked(rope: Rope) -> Rope:
    """Returns `rope`; raises `CutawayError` if its scaling is of another kind than `SCALINGS` or lacks a number."""
    kind = scaling_kind(rope)
    if kind not in SCALINGS:
        raise CutawayError(f"rope scaling {kind!r} is not supported: known are {', '.join(SCALINGS)}")
    if missing := [key for key in SCALINGS[kind] if key not in rope.scaling]:
        raise CutawayError(f"rope scaling {kind!r} needs {' and '.join(missing)} in config.json")
    return rope


def scaling_kind(rope: Rope) -> str:
    return rope.scaling.get("rope_type", rope.scaling.get("type", "default"))


def frequencies(rope: Rope, n_ctx: int) -> Float[Tensor, " half"]:
    """Radians per position for each rotated pair (Su et al. 2021, eq. 15), rescaled as the checkpoint says."""
    kind, scaling = scaling_kind(checked(rope)), rope.scaling
    freq = rope.base ** (-torch.arange(0, rope.dim, 2, dtype=torch.float32) / rope.dim)
    if kind == "linear":
        return freq / scaling["factor"]
    if kind == "llama3":
        # Llama 3.1: long waves are slowed by `factor`, short ones kept, the ones between blended
        old = scaling.get("original_max_position_embeddings", n_ctx)
        low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
        turns = old * freq / (2 * math.pi)
        blend = ((turns - low) / (high - low)).clamp(0, 1)
        return freq / factor * (1 - blend) + freq * blend
    return freq


def rotation(rope: Rope, positions: Int[Tensor, "rows pos"], n_ctx: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each token's angles, `[rows, pos, 1, dim]` each, to meet `[batch, pos, head, d_head]`."""
    angle = positions[..., None].float() * frequencies(rope, n_ctx).to(positions.device)
    angle = torch.cat([angle, angle], dim=-1)[:, :, None]
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(
    x: Float[Tensor, "batch pos head d_head"], cos: Tensor, sin: Tensor
) -> Float[Tensor, "batch pos head d_head"]:
    """Turns the first `dim` dimensions of each head; pair i is (i, i + dim/2), as these families' checkpoints lie."""
    dim = cos.shape[-1]
    turned, rest = x[..., :dim], x[..., dim:]
    a, b = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat([-b, a], dim=-1) * sin
    return turned if dim == x.shape[-1] else torch.cat([turned, rest], dim=-1)
