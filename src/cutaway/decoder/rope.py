"""Rotary positions: which angle each token is turned by, and the turning."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.config import Rope


def frequencies(rope: Rope, n_ctx: int) -> Float[Tensor, " half"]:
    """Radians per position for each rotated pair (Su et al. 2021, eq. 15), rescaled as the checkpoint says."""
    freq = rope.base ** (-torch.arange(0, rope.dim, 2, dtype=torch.float32) / rope.dim)
    scaling = rope.scaling
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return freq
    if kind == "linear":
        return freq / scaling["factor"]
    if kind == "llama3":
        # Llama 3.1: long waves are slowed by `factor`, short ones kept, the ones between blended
        old = scaling.get("original_max_position_embeddings", n_ctx)
        low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
        turns = old * freq / (2 * math.pi)
        blend = ((turns - low) / (high - low)).clamp(0, 1)
        return freq / factor * (1 - blend) + freq * blend
    raise CutawayError(f"rope scaling {kind!r} is not supported: known are default, linear, llama3")


def rotation(rope: Rope, positions: Int[Tensor, "rows pos"], n_ctx: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each token's angles, `[rows, pos, 1, dim]` each, ready to meet `[batch, pos, head, d_head]`."""
    angle = positions[..., None].float() * frequencies(rope, n_ctx).to(positions.device)
    angle = torch.cat([angle, angle], dim=-1)[:, :, None]
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x: Float[Tensor, "batch pos head d_head"], cos: Tensor, sin: Tensor) -> Float[Tensor, "batch pos head d_head"]:
    """Turns the first `dim` dimensions of each head; pair i is (i, i + dim/2), as in every checkpoint of these families."""
    dim = cos.shape[-1]
    turned, rest = x[..., :dim], x[..., dim:]
    a, b = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat([-b, a], dim=-1) * sin
    return turned if dim == x.shape[-1] else torch.cat([turned, rest], dim=-1)
