"""What the engine must equal: one full pass with `Patch`es for every variant, nothing shared, nothing resumed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.circuits.variant import Variant
from cutaway.decoder import Decoder, Patch, Site

KINDS = ("z", "mlp_out", "resid_pre")
INPUTS = ("q", "k", "v", "attn_out")
"""Patched by grids as well; so is `pattern`, whose axes are others."""


@dataclass(frozen=True)
class Patched:
    """Sites to patch, of any kind, at the tokens of a role or everywhere: what a `Variant` is of some kinds."""

    replaced: frozenset[Site]
    role: str | None = None


@dataclass(frozen=True)
class Values:
    """What replaces, for every whole site `[batch, pos, …]`, and which tokens have a value `[batch, pos]`."""

    sites: dict[Site, Tensor]
    where: Tensor


def logits(model: Decoder, prompts: Prompts, columns: Tensor, patches: Sequence[Patch] = ()) -> Tensor:
    """`[batch, step, column]`, picked from the logits of everything."""
    everything = model.run(prompts.tokens, mask=prompts.mask, patches=patches).logits
    picked = [[everything[row, at] for at in steps] for row, steps in enumerate(prompts.steps.tolist())]
    return torch.stack([torch.stack(steps) for steps in picked])[..., columns]


def activations(model: Decoder, prompts: Prompts, kinds: Sequence[str] = KINDS) -> dict[Site, Tensor]:
    wanted = [Site(layer, kind) for layer in range(model.config.n_layers) for kind in kinds]
    return model.run(prompts.tokens, mask=prompts.mask, capture=wanted).sites


def corrupted(model: Decoder, base: Prompts, source: Prompts) -> Values:
    """As `resampled`, for prompts that stand alike token by token, with what goes into heads as well."""
    assert torch.equal(base.slots, source.slots)
    return Values(activations(model, source, (*KINDS, *INPUTS, "pattern")), base.mask)


def resampled(model: Decoder, base: Prompts, source: Prompts) -> Values:
    """Each token of `base` takes what the token in its slot has in the same row of `source`."""
    found = {
        (row, at): [(row, source.slots[row].tolist().index(slot))]
        for row, at, slot in _tokens(base)
        if slot in source.slots[row].tolist()
    }
    return _values(base, activations(model, source), found)


def averaged(model: Decoder, base: Prompts, source: Prompts) -> Values:
    """Each token of `base` takes the mean over the tokens in its slot, in all rows of `source`."""
    standing: dict[int, list[tuple[int, int]]] = {}
    for row, at, slot in _tokens(source):
        standing.setdefault(slot, []).append((row, at))
    found = {(row, at): standing[slot] for row, at, slot in _tokens(base) if slot in standing}
    return _values(base, activations(model, source), found)


def zero(model: Decoder, base: Prompts) -> Values:
    found = {(row, at): [] for row, at, _ in _tokens(base)}
    return _values(base, activations(model, base), found)


def patches(behavior: Behavior, base: Prompts, variant: Variant | Patched, values: Values) -> list[Patch]:
    role = [[slot >= 0 and behavior.slots[slot][0] == variant.role for slot in row] for row in base.slots.tolist()]
    where = values.where if variant.role is None else values.where & torch.tensor(role)
    return [Patch(site, site.of(values.sites[site.without_head()]), where) for site in variant.replaced]


def _tokens(prompts: Prompts) -> list[tuple[int, int, int]]:
    """(row, position, slot) of every token that is not padding."""
    rows = enumerate(prompts.slots.tolist())
    return [(row, at, slot) for row, slots in rows for at, slot in enumerate(slots) if slot >= 0]


def _values(base: Prompts, source: dict[Site, Tensor], found: dict[tuple[int, int], list[tuple[int, int]]]) -> Values:
    """The mean over the places found for each token; zero where the list is empty."""
    where = torch.zeros_like(base.mask)
    sites = {site: x.new_zeros(*base.tokens.shape, *x.shape[2:]) for site, x in source.items()}
    for (row, at), places in found.items():
        where[row, at] = True
        for site, x in source.items():
            if places:
                sites[site][row, at] = sum(x[place] for place in places) / len(places)
    return Values(sites, where)
