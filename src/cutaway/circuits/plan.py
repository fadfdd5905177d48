"""Which cells are run, from where on, and which of them go together. A cell is one variant on one prompt.

A cell that cannot differ from the base run is left out: its replacement equals what it replaces, or stands where nothing
leads from to a scored token. The others begin at their first layer and position that differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.circuits.variant import Masks, Reference, Trace, Variant
from cutaway.decoder import Decoder


@dataclass(frozen=True)
class Block:
    """Cells that go up together, in the order in which they enter.

    All have the same scored positions and differ from the base run, where they enter, at positions from `start` to before
    `stop`. `entry` is twice the layer where a cell first differs, plus one if its residual stream there is still that of
    the base run. `values` are the rows of the reference that replace. `where` says at which tokens a cell's sites are
    replaced, `behind` the same for the background.
    """

    variant: Int[Tensor, " cell"]
    row: Int[Tensor, " cell"]
    values: Int[Tensor, " cell"]
    entry: tuple[int, ...]
    start: int
    stop: int
    scored: tuple[int, ...]
    replaced: Masks
    background: Masks
    where: Bool[Tensor, "cell pos"]
    behind: Bool[Tensor, "cell pos"]

    def __len__(self) -> int:
        return len(self.entry)

    def to(self, device: torch.device) -> "Block":
        """The same block with its tensors on the device of a layer."""
        moved = {name: getattr(self, name).to(device) for name in ("variant", "row", "values", "where", "behind")}
        masks = {name: getattr(self, name).map(lambda mask: mask.to(device)) for name in ("replaced", "background")}
        return replace(self, **moved, **masks)

    @property
    def width(self) -> int:
        """Positions up to and with the last scored one."""
        return self.scored[-1] + 1

    @property
    def tokens(self) -> int:
        return len(self) * (self.width - self.start)


class Plan:
    """The cells of some variants.

    Raises:
        ValueError: a background that replaces a residual stream, from which variants resume; or a background where
            variants take their values from several sources.
    """

    def __init__(
        self,
        model: Decoder,
        behavior: Behavior,
        prompts: Prompts,
        variants: Sequence[Variant],
        reference: Reference,
        base: Trace,
        background: Variant | None = None,
    ):
        background = background or Variant(frozenset())
        self.prompts, self.reference, self.base = prompts, reference, base
        self.replaced, self.background = Masks.of(variants, model), Masks.of([background], model)
        if self.background.resid_pre.any():
            raise ValueError(
                "a background replaces heads and MLPs only: its residual stream is what variants resume from"
            )
        self._source = torch.tensor([variant.source for variant in variants], device=prompts.tokens.device)
        if background.replaced and self._source.any():
            raise ValueError("with a background, all values come from one source")
        roles = sorted({variant.role for variant in (*variants, background)}, key=str)
        self._where = torch.stack([_places(behavior, prompts, reference, role) for role in roles])
        self._role = torch.tensor([roles.index(variant.role) for variant in variants], device=prompts.tokens.device)
        self._behind = self._where[roles.index(background.role)]
        plain = not background.replaced
        alike = [plain or variant.role == background.role for variant in variants]
        self._alike = torch.tensor(alike, dtype=torch.bool, device=prompts.tokens.device)

    def blocks(self, budget: int) -> Iterator[Block]:
        """All cells, in blocks of at most `budget` tokens (or one cell)."""
        differs, where = self._differences()
        begins = differs.layers.int().argmax(-1)
        born = differs.resid_pre.gather(1, begins[:, None])[:, 0]
        entry = 2 * begins + (~born).int()
        variant, row = where.any(-1).nonzero(as_tuple=True)
        if not len(variant):
            return
        spans = where[variant, row].int()
        start, stop = spans.argmax(-1), spans.shape[-1] - spans.flip(-1).argmax(-1)
        keys = torch.cat([self.prompts.steps[row], start[:, None], stop[:, None]], dim=1)
        groups, group = keys.unique(dim=0, return_inverse=True)
        for g, (*scored, first, last) in enumerate(groups.tolist()):
            cells = (group == g).nonzero()[:, 0]
            cells = cells[entry[variant[cells]].argsort(stable=True)]
            for some in cells.split(max(1, budget // (scored[-1] + 1 - first))):
                yield self._block(variant[some], row[some], entry, first, last, tuple(scored))

    def _block(self, variant: Tensor, row: Tensor, entry: Tensor, start: int, stop: int, scored: tuple) -> Block:
        return Block(
            variant,
            row,
            row + self._source[variant] * len(self.prompts),
            tuple(entry[variant].tolist()),
            start,
            stop,
            scored,
            self.replaced.map(lambda mask: mask[variant]),
            self.background,
            self._where[self._role[variant], row],
            self._behind[row],
        )

    def _differences(self) -> tuple[Masks, Bool[Tensor, "variant batch pos"]]:
        """Which sites of each variant may differ from the base run, and at which tokens."""
        one = self.replaced.join(self.background, torch.logical_xor)
        both = self.replaced.join(self.background, torch.logical_or)
        differs = one.join(both, lambda a, b: torch.where(self._alike.reshape(-1, *[1] * (a.ndim - 1)), a, b))
        where = self._where[self._role]
        where = where | (self._behind & ~self._alike[:, None, None])
        position = torch.arange(where.shape[-1], device=where.device)
        first = torch.as_tensor(self.reference.first, device=where.device).expand(len(self.prompts))
        last = self.prompts.steps[:, -1:]
        where = where & (position >= first[:, None]) & (position <= last) & (differs.count > 0)[:, None, None]
        self._narrow(differs, where)
        return differs, where

    def _narrow(self, differs: Masks, where: Tensor) -> None:
        """Where a single site differs: only tokens whose value really changes, and in the last layer, from which nothing
        but the token itself is reached, only scored ones."""
        single = differs.count == 1
        top = differs.layers.shape[1] - 1
        scored = torch.zeros_like(where[0]).scatter_(1, self.prompts.steps, True)
        for layer in range(top + 1):
            z, mlp, resid = (mask[:, layer] & single.reshape(-1, *[1] * (mask.ndim - 2)) for mask in differs.parts())
            if z.any():
                at, head = z.nonzero(as_tuple=True)
                changes = self._changes(self.reference.z[layer], self.base.z[layer])  # [source, batch, pos, head]
                where[at] &= changes[self._source[at], :, :, head]
            for mask, new, old in (
                (mlp, self.reference.mlp_out, self.base.mlp_out),
                (resid, self.reference.resid_pre, self.base.resid_pre),
            ):
                if mask.any():
                    where[mask] &= self._changes(new[layer], old[layer])[self._source[mask]]
            if layer == top:
                where[z.any(-1) | mlp] &= scored

    def _changes(self, new: Tensor, old: Tensor) -> Bool[Tensor, "source batch pos *head"]:
        """Where the values of each source differ from those that they replace."""
        return (new.unflatten(0, (-1, len(old))) != old).any(-1).to(self._source.device)


def _places(behavior: Behavior, prompts: Prompts, reference: Reference, role: str | None) -> Bool[Tensor, "batch pos"]:
    """The tokens of a role (None: all) that the reference has a value for."""
    return reference.where if role is None else reference.where & behavior.slot_mask(prompts, role)
