"""Masks on disk: eight entries to a byte, the first in the lowest bit."""

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor, nn

from cutaway.core.errors import CutawayError


def packed(mask: Shaped[Tensor, "..."]) -> UInt8[Tensor, "bytes"]:
    """Of zeros and ones of any type and shape."""
    on = nn.functional.pad(mask.detach().flatten().to(torch.uint8), (0, -mask.numel() % 8)).view(-1, 8)
    return (on << torch.arange(8, dtype=torch.uint8, device=on.device)).sum(1).to(torch.uint8)


def unpacked(bits: UInt8[Tensor, "bytes"], like: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """Zeros and ones, of the type and shape of `like`. Raises `CutawayError` if they are of another number of entries."""
    wanted = (like.numel() + 7) // 8
    if len(bits) != wanted:
        raise CutawayError(f"a mask has {len(bits)} bytes, wanted are {wanted}: it is of another model")
    on = (bits[:, None] >> torch.arange(8, dtype=torch.uint8, device=bits.device)) & 1
    return on.flatten()[: like.numel()].to(like).view_as(like)
