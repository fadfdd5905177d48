"""What an ablated head gets in place of its own value: a mean by role, a mean over all tokens.

Means by role are the convention of the runs (`reference.slot_means`): over prompts in which all that matters is another,
slot by slot. Each token of a phrase takes the mean of the tokens in its slot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cutaway.circuits.behavior import Prompts
from cutaway.circuits.explore.phrase import Slot
from cutaway.decoder import Decoder, Site

PORTION = 16
"""Prompts that are run together."""


@dataclass(frozen=True)
class Means:
    """Mean outputs of the heads over some prompts. `slots` says which row of `by_slot` a slot has; none, where tokens
    have no roles. `about` says which prompts."""

    overall: Float[Tensor, "layer head d_head"]
    by_slot: Float[Tensor, "slot layer head d_head"]
    slots: dict[Slot, int]
    about: str

    def by_role(
        self, slots: Sequence[Slot], layer: int
    ) -> tuple[Float[Tensor, "1 pos head d_head"], Bool[Tensor, " pos"]]:
        """For the tokens of a phrase their means in one layer; and which of them have one of their own. The others get
        that over all tokens."""
        rows = torch.tensor([self.slots.get(slot, -1) for slot in slots])
        values = torch.where((rows >= 0)[:, None, None], self._rows(rows, layer), self.overall[layer])
        return values[None], rows >= 0

    def _rows(self, rows: Tensor, layer: int) -> Tensor:
        return (
            self.by_slot[rows.clamp(min=0), layer]
            if len(self.by_slot)
            else self.overall[layer].expand(len(rows), -1, -1)
        )


def measure(model: Decoder, prompts: Prompts, slots: Sequence[Slot], about: str) -> Means:
    """Means over the tokens of these prompts, padding left out; `slots` are those that `prompts.slots` counts, or none."""
    c, n = model.config, len(slots)
    sites = [Site(layer, "z") for layer in range(c.n_layers)]
    total = torch.zeros(n, c.n_layers, c.n_heads, c.d_head)
    overall, tokens = torch.zeros(c.n_layers, c.n_heads, c.d_head), 0
    count = torch.zeros(n)
    with torch.inference_mode():
        for some in (prompts.take(slice(i, i + PORTION)) for i in range(0, len(prompts), PORTION)):
            real, some = some.mask.cpu(), some.to(model.device)
            run = model.run(
                some.tokens, mask=some.mask, capture=sites, scored=some.steps[:, :1], columns=some.tokens[0, :1]
            )
            z = torch.stack(
                [run.sites[site].cpu().float()[real] for site in sites], dim=1
            )  # [token, layer, head, d_head]
            overall, tokens = overall + z.sum(0), tokens + len(z)
            if n:
                total.index_add_(0, some.slots.cpu()[real], z)
                count += torch.bincount(some.slots.cpu()[real], minlength=n)
    seen = count > 0
    rows = {slot: row for row, slot in enumerate(slot for slot, has in zip(slots, seen.tolist(), strict=True) if has)}
    return Means(overall / max(tokens, 1), total[seen] / count[seen, None, None, None], rows, about)
