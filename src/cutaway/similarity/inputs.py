"""What a distance is given: images as tensors, checked, and mapped to what a trunk reads.

An image in 0 to 1 that is taken for one in −1 to 1 gives a distance, and a wrong one. So nothing is guessed: a range is told, or
the image is uint8, whose range is 0 to 255.
"""

import math
import warnings

import torch
from torch import Tensor

from cutaway.core.errors import CutawayError

Range = tuple[float | int, float | int]
Colour = tuple[float, ...]
"""Red, green and blue."""
BYTES: Range = (0, 255)
COMMON: tuple[Range, ...] = ((0, 1), (-1, 1), (0, 255))
SLACK = 1e-5
"""Of the range's width: as far as rounding may carry a value out of it."""


def batched(images: Tensor, name: str, smallest: tuple[str, int]) -> Tensor:
    """The images as `[batch, 3, h, w]`; a single one may come without `batch`.

    Args:
        smallest: a trunk's name, and the least side of an image that it can read.

    Raises:
        CutawayError: they are not images in colour, there are none, or they are too small.
    """
    shape = tuple(images.shape)
    if images.dim() == 3:
        images = images[None]
    if images.dim() != 4 or images.is_complex() or images.dtype == torch.bool:
        kind = str(images.dtype).removeprefix("torch.")
        raise CutawayError(f"{name}: {kind} of shape {shape} are no images; give [batch, 3, height, width]")
    if (channels := images.shape[1]) != 3:
        raise CutawayError(f"{name}: shape {shape} has {channels} channels, 3 are needed; {_advice(images)}")
    if not images.shape[0]:
        raise CutawayError(f"{name}: there are no images in shape {shape}")
    net, side = smallest
    if min(images.shape[2:]) < side:
        raise CutawayError(
            f"{name}: {_size(images)} pixels are too few for {net}, which needs {side}×{side}; enlarge them"
        )
    return images


def check_pair(a: tuple[tuple[int, int], int], b: tuple[tuple[int, int], int]) -> None:
    """Raises `CutawayError` if images of these (height, width) and numbers cannot be compared."""
    (size, n), (other_size, other_n) = a, b
    if size != other_size:
        both = "{1}×{0} and {3}×{2}".format(*size, *other_size)
        raise CutawayError(f"the images have different sizes, {both}: resize or crop them to one")
    if n != other_n and 1 not in (n, other_n):
        raise CutawayError(f"{n} images cannot be compared with {other_n}: give as many, or one")


def _advice(images: Tensor) -> str:
    if images.shape[-1] == 3:
        return "channels come first: x.permute(0, 3, 1, 2)"
    if images.shape[1] == 1:
        return "repeat grey: x.expand(-1, 3, -1, -1)"
    return "leave transparency out: x[:, :3]" if images.shape[1] == 4 else "give red, green and blue"


def _size(images: Tensor) -> str:
    return "{1}×{0}".format(*images.shape[-2:])


def range_of(images: Tensor, declared: Range | None) -> Range:
    """The range of these images.

    Raises:
        CutawayError: none is declared for images that are not uint8, it is no range, or it is not that of uint8.
    """
    if images.dtype == torch.uint8:
        if declared not in (None, BYTES):
            raise CutawayError(
                f"the images are uint8, whose range is (0, 255), not {told(declared)}: leave the range out"
            )
        return BYTES
    if declared is None:
        kind = str(images.dtype).removeprefix("torch.")
        raise CutawayError(f"the images are {kind}: say what range they are in, range=(0, 1) or range=(-1, 1)")
    return proper(declared)


def proper(declared: Range) -> Range:
    """The range itself; raises `CutawayError` if it is no range."""
    low, high = declared
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise CutawayError(f"range={told(declared)} is no range: give the lowest and the highest value, as in (0, 1)")
    return declared


def check(images: Tensor, within: Range, name: str) -> bool:
    """Do values lie in the lower half of the range? If not, the images may never have been mapped to −1 to 1.

    Raises:
        CutawayError: a value is NaN or infinite, or outside the range.
    """
    if images.dtype == torch.uint8 or not images.numel():
        return True
    least, most = (float(x) for x in images.detach().aminmax())
    low, high = within
    if not (math.isfinite(least) and math.isfinite(most)):
        bad = "NaN" if math.isnan(least) else "infinite values"
        raise CutawayError(f"{name}: the images have {bad}; mend them first")
    slack = SLACK * (high - low)
    if least < low - slack or most > high + slack:
        fits = next((x for x in COMMON if x[0] <= least and most <= x[1]), None)
        hint = f"; range={told(fits)} would hold them" if fits else "; clamp them, or declare the range they have"
        raise CutawayError(f"{name}: values from {least:.4g} to {most:.4g} are outside range={told(within)}{hint}")
    return min(least, most - SLACK) < (low + high) / 2


def warn_unmapped() -> None:
    """Says that images look as if nobody had mapped them to −1 to 1."""
    warnings.warn("all values are in 0 to 1, but the range is declared (-1, 1): is it (0, 1)?", stacklevel=2)


def mapped(images: Tensor, within: Range, shift: Colour, scale: Colour, dtype: torch.dtype) -> Tensor:
    """(x − shift) / scale, with x the images in −1 to 1: one factor and one term for each colour."""
    low, high = within
    factor = [2 / ((high - low) * s) for s in scale]
    offset = [(-2 * low / (high - low) - 1 - m) / s for m, s in zip(shift, scale, strict=True)]
    wide = torch.promote_types(dtype, torch.float32)
    factor, offset = (torch.tensor(x, dtype=wide, device=images.device)[:, None, None] for x in (factor, offset))
    return torch.addcmul(offset, images.to(wide), factor).to(dtype, memory_format=torch.channels_last)


def told(declared: Range | None) -> str:
    """A range as it is written."""
    return "none" if declared is None else "({:g}, {:g})".format(*declared)
