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

    `value` broadcasts to the site's activation, without the head axis if the site names a head; or it is a function from
    the activation of this very run to its replacement. `where` selects positions, `[batch, pos]` (rows of queries for
    `pattern`); None means all.
    """

    site: Site
    value: Tensor | Callable[[Tensor], Tensor]
    where: Bool[Tensor, "batch pos"] | None = None

    def apply(self, x: Tensor) -> Tensor:
        """`x` is the whole site (all heads); the result is a new tensor of the same shape."""
        head, pattern = self.site.head, self.site.kind == "pattern"
        axis = 1 if pattern else 2
        old = x if head is None else x.select(axis, head)
        new = self.value(old) if callable(self.value) else self.value.to(old)
        try:
            new = new.expand_as(old)
            if self.where is not None:
                new = torch.where(_spread(self.where, old, pattern and head is None), new, old)
        except RuntimeError as error:
            given = tuple(new.shape) if self.where is None else (tuple(new.shape), tuple(self.where.shape))
            raise CutawayError(f"patch at {self.site}: got shape {given} for a site of shape {tuple(old.shape)}") from error
        if head is None:
            return new
        out = x.clone()
        out.select(axis, head).copy_(new)
        return out


def _spread(where: Tensor, like: Tensor, heads_first: bool) -> Tensor:
    """[batch, pos] as something that broadcasts against `like`."""
    if heads_first:
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
