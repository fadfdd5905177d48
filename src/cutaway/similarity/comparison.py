"""What a comparison gives: distances, each layer's share, maps, and the name of every part that made them."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from cutaway import __version__
from cutaway.similarity.inputs import Range, told
from cutaway.similarity.weights import Origin

Version = Literal["0.1", "0.0"]
"""0.0 is the first release, which gave trunks images in −1 to 1 as they are; 0.1 maps them to what trunks were trained on."""
Variant = Literal["lin", "baseline", "tune", "scratch"]
"""Weights learned on a fixed trunk; no weights; weights learned together with the trunk, a trained one or a random one."""


@dataclass(frozen=True)
class Identity:
    """What a distance was measured with, down to the bits of each part."""

    version: str
    variant: str
    net: str
    layers: tuple[str, ...]
    trunk: Origin
    linear: Origin | None
    """None for the unweighted baseline."""
    cutaway: str = __version__

    def __str__(self) -> str:
        linear = f", linear weights {self.linear}" if self.linear else ""
        return f"LPIPS {self.version} {self.variant}, {self.net} {self.trunk}{linear}, cutaway {self.cutaway}"

    def to_dict(self) -> dict:
        return {
            "method": "LPIPS", "version": self.version, "variant": self.variant, "net": self.net,
            "layers": list(self.layers), "trunk": self.trunk.to_dict(),
            "linear": self.linear.to_dict() if self.linear else None, "cutaway": self.cutaway,
        }  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Distances of pairs of images; larger is less alike, 0 is the same."""

    values: Float[Tensor, " batch"]
    terms: Float[Tensor, "batch layer"]
    """Each layer's share; they add up to the values."""
    maps: Float[Tensor, "batch h w"] | None
    """Where the images differ, if that was asked for: the layers' maps, interpolated to the size of the images and added up."""
    range: Range
    identity: Identity

    def __float__(self) -> float:
        """Of a single pair."""
        return self.values.item()

    def __str__(self) -> str:
        return f"{', '.join(f'{x:.4f}' for x in self.values.tolist())} ({self.identity}, range {told(self.range)})"

    def to_dict(self) -> dict:
        """Without maps."""
        return {
            "values": self.values.tolist(), "terms": self.terms.tolist(), "range": list(self.range),
            "identity": self.identity.to_dict(),
        }  # fmt: skip
