"""The perceptual distance of two images (LPIPS; Zhang et al. 2018, §3, eq. 1).

a ─→ mapped to what the trunk reads ─→ stage 0 ─→ stage 1 ─→ …
                                          term       term         each a mean over places; their sum is the distance
b ─→ mapped to what the trunk reads ─→ stage 0 ─→ stage 1 ─→ …
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.similarity.comparison import Comparison, Identity
from cutaway.similarity.inputs import (
    Range,
    batched,
    check,
    check_pair,
    mapped,
    proper,
    range_of,
    told,
    warn_unmapped,
)
from cutaway.similarity.term import squares, term
from cutaway.similarity.trunk import Features, Net, Trunk

MOST = 1 << 22
"""Numbers in the first features of all images in flight, where no gradient is wanted: so few that their memory is used again and
stays near the processor, and enough to keep it busy."""


@dataclass(frozen=True)
class Reference:
    """Images whose features were computed once, to be compared with many."""

    features: tuple[Features, ...]
    size: tuple[int, int]
    """Height and width of the images."""
    range: Range
    identity: Identity

    def __len__(self) -> int:
        return len(self.features[0])


Images = Tensor | Reference
Share = Callable[[int, Features, Features], Tensor]
"""What a layer has to say of a batch of pairs, given its number and both features."""


class Distance(nn.Module):
    """Distances between images `[batch, 3, h, w]`; one image may be compared with many. `load.load_distance` makes it by name.

    Called, it gives a tensor to be minimised; `compare` gives a record for people. Its weights do not learn unless they are told
    to (`requires_grad_`), and gradients by the images are finite everywhere.

    Args:
        linear: a weight for each channel, layer by layer; None weighs all channels by 1.
        range: of images that are not uint8: (0, 1), (-1, 1) or another.
    """

    def __init__(
        self, net: Net, trunk: Trunk, linear: Sequence[Tensor] | None, identity: Identity, range: Range | None = None
    ):
        super().__init__()
        self.net, self.identity = net, identity
        self.range = range if range is None else proper(range)
        self.trunk = trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights = linear if linear is not None else [torch.ones(n) for n in net.channels]
        self.linear = nn.ParameterList(nn.Parameter(x) for x in weights)
        mapping = ((0.0,) * 3, (1.0,) * 3) if identity.version == "0.0" else (net.shift, net.scale)
        shift, scale = (tuple(torch.tensor(x).tolist()) for x in mapping)  # rounded to float32, as it was published
        self.mapping = shift, scale
        self.requires_grad_(False)

    def forward(self, a: Images, b: Images) -> Float[Tensor, " batch"]:
        """The distance of each pair.

        Raises:
            CutawayError: images of other shapes, sizes or devices, values outside their range, or features of another trunk.
        """
        return self.terms(a, b).sum(1)

    def compare(self, a: Images, b: Images, *, maps: bool = False) -> Comparison:
        """The same with every layer's share, maps if asked for, and the names of all parts. Raises as `forward` does."""
        places = self.places(a, b)
        terms = _terms(places)
        drawn = _drawn(places, _size(a)).sum(1) if maps else None
        return Comparison(terms.sum(1), terms, drawn, self._range(a, b), self.identity)

    def terms(self, a: Images, b: Images) -> Float[Tensor, "batch layer"]:
        """Each layer's share of the distance. Raises as `forward` does."""
        return _terms(self.places(a, b))

    def layer_maps(self, a: Images, b: Images) -> Float[Tensor, "batch layer h w"]:
        """Each layer's map, interpolated to the size of the images. Raises as `forward` does."""
        return _drawn(self.places(a, b), _size(a))

    def places(self, a: Images, b: Images) -> list[Float[Tensor, "batch _h _w"]]:
        """Each layer's map as it is, in the layer's own size. Raises as `forward` does."""
        return self._each(a, b, lambda k, x, y: term(x, y, self.linear[k]))

    def channels(self, a: Images, b: Images) -> tuple[Float[Tensor, "batch _channel"], ...]:
        """Squared differences of each layer's channels, averaged over places: a term is their sum weighted by `linear`."""
        return tuple(self._each(a, b, lambda k, x, y: squares(x, y).mean((2, 3))))

    def features(self, images: Tensor) -> Reference:
        """Features of images that are to be compared with many. Raises as `forward` does."""
        within = range_of(images, self.range)
        return self._read(self._checked(images)[0], within)

    def _each(self, a: Images, b: Images, share: Share) -> list[Tensor]:
        """What each layer has to say of all pairs; a few pairs at a time where no gradient is wanted."""
        within = self._range(a, b)
        sides = self._checked(a, b)
        pairs = max(map(len, sides))
        few = pairs if self._learning(sides) else max(1, MOST // self.net.first_features(*_size(a)))
        if pairs > few:  # what is compared with all is read once
            sides = [self._read(x, within) if isinstance(x, Tensor) and len(x) == 1 else x for x in sides]
        found = [self._some([_rows(x, i, i + few) for x in sides], within, share) for i in range(0, pairs, few)]
        return found[0] if len(found) == 1 else [torch.cat(layer) for layer in zip(*found, strict=True)]

    def _some(self, sides: Sequence[Images], within: Range, share: Share) -> list[Tensor]:
        """The same for one batch. Features are let go as soon as they are compared."""
        stages = zip(*(self._stages(x, within) for x in sides), strict=True)
        return [share(k, x, y) for k, (x, y) in enumerate(stages)]

    def _read(self, images: Images, within: Range) -> Reference:
        return Reference(tuple(self._stages(images, within)), _size(images), within, self.identity)

    def _stages(self, x: Images, within: Range) -> Iterator[Features]:
        if isinstance(x, Reference):
            yield from x.features
            return
        shift, scale = self.mapping
        x = mapped(x, within, shift, scale, self._like.dtype)
        for k in range(len(self.linear)):
            x = self.trunk.stage(k, x)
            yield x

    @property
    def _like(self) -> Tensor:
        """A weight, whose device and type are those of all."""
        return next(self.trunk.parameters())

    def _range(self, a: Images, b: Images) -> Range:
        one, other = (x.range if isinstance(x, Reference) else range_of(x, self.range) for x in (a, b))
        if one != other:
            raise CutawayError(f"the images are in {told(one)} and in {told(other)}: give both in one range")
        return one

    def _checked(self, *given: Images) -> list[Images]:
        """The sides of a comparison, each `[batch, …]`. Values are not looked at while `torch.compile` traces."""
        names = ("first images", "second images") if len(given) == 2 else ("reference",)
        sides = [self._right(x, name) for x, name in zip(given, names, strict=True)]
        if len(sides) == 2:
            check_pair(*((_size(x), len(x)) for x in sides))
        if not torch.compiler.is_compiling():
            low = [
                check(x, range_of(x, self.range), n) for x, n in zip(sides, names, strict=True) if isinstance(x, Tensor)
            ]
            if low and self.range == (-1, 1) and not any(low):
                warn_unmapped()
        return sides

    def _right(self, x: Images, name: str) -> Images:
        if isinstance(x, Tensor):
            x = batched(x, name, (self.net.name, self.net.smallest))
        elif x.identity != self.identity:
            raise CutawayError(f"the {name} were read by another distance, {x.identity}: read them again with this one")
        device = x.device if isinstance(x, Tensor) else x.features[0].device
        if device != self._like.device:
            raise CutawayError(
                f"the {name} are on {device}, the distance is on {self._like.device}: move one to the other"
            )
        return x

    def _learning(self, sides: Sequence[Images]) -> bool:
        """Is a gradient wanted?"""
        tensors = [y for x in sides for y in (x.features if isinstance(x, Reference) else (x,))]
        return torch.is_grad_enabled() and any(x.requires_grad for x in (*tensors, *self.parameters()))


def _terms(places: list[Tensor]) -> Tensor:
    return torch.stack([x.mean((1, 2)) for x in places], 1)


def _drawn(places: list[Tensor], size: tuple[int, int]) -> Tensor:
    drawn = [F.interpolate(x[:, None], size, mode="bilinear", align_corners=False) for x in places]
    return torch.cat(drawn, 1)


def _size(x: Images) -> tuple[int, int]:
    """Height and width."""
    return x.size if isinstance(x, Reference) else (x.shape[-2], x.shape[-1])


def _rows(x: Images, i: int, j: int) -> Images:
    """Some of the images, or the one that is compared with all."""
    if len(x) == 1:
        return x
    return replace(x, features=tuple(y[i:j] for y in x.features)) if isinstance(x, Reference) else x[i:j]
