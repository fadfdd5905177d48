"""A patch is a value: what to put at a site, at which positions. It is handed to a call and leaves nothing behind."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder.sites import Site


@dataclass(frozen=True)
class Patch:
    """Put `value` at `site`.

    `value` broadcasts to the site's activation, without the head axis if the site names a head; or it is a function
    from the activation of this very run to its replacement. `where` selects positions, `[batch, pos]` (rows of queries
    for `pattern`); None means all.
    """

    site: Site
    value: Tensor | Callable[[Tensor], Tensor]
    where: Bool[Tensor, "batch pos"] | None = None

    def apply(self, x: Tensor) -> Tensor:
        """`x` is the whole site (all heads); the result is a new tensor of the same shape.

        Raises:
            CutawayError: the replacement is no tensor, or it or `where` does not broadcast to the site.
        """
        old = self.site.of(x)
        new = self.value(old) if callable(self.value) else self.value
        if not isinstance(new, Tensor):
            raise CutawayError(f"patch at {self.site}: the replacement must be a tensor, got {type(new).__name__}")
        try:
            new = new.to(old).expand_as(old)
            if self.where is not None:
                new = torch.where(self._spread(self.where, old), new, old)
        except (RuntimeError, IndexError) as error:
            given = f"{tuple(new.shape)}" + ("" if self.where is None else f" with where {tuple(self.where.shape)}")
            raise CutawayError(f"patch at {self.site}: shape {given} does not fit {tuple(old.shape)}") from error
        if self.site.head is None:
            return new
        out = x.clone()
        self.site.of(out).copy_(new)
        return out

    def _spread(self, where: Tensor, like: Tensor) -> Tensor:
        """`where` as something that broadcasts against `like`; positions of a pattern are its rows."""
        where = where.to(like.device)
        if self.site.kind == "pattern" and self.site.head is None:
            return where[:, None, :, None]
        return where.reshape(*where.shape, *[1] * (like.ndim - 2))


class Patches:
    """The patches of one call, found by site."""

    def __init__(self, patches: Iterable[Patch]):
        self._by_site: dict[Site, list[Patch]] = {}
        for patch in patches:
            self._by_site.setdefault(patch.site.without_head(), []).append(patch)

    def __call__(self, site: Site, x: Tensor) -> Tensor:
        for patch in self._by_site.get(site, ()):
            x = patch.apply(x)
        return x

    def __iter__(self):
        return (patch for group in self._by_site.values() for patch in group)
