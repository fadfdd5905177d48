"""Patching what goes into a head is patching what comes out of it.

A head's queries, keys, values and attention pattern reach the rest of the model through its z alone. So a patch of one of
them is a patch of z, by what the head computes with that input replaced: cheap to know for all heads of a layer at once,
and then the engine resumes after it. A key or value at one token changes z at every token that looks there; a query or a
row of the pattern changes z at its own token. The output of all heads together (`attn_out`) is the z of all of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cutaway.circuits.behavior import align
from cutaway.circuits.engine import Engine
from cutaway.circuits.reference import from_run
from cutaway.circuits.variant import REPLACEABLE, Reference, Trace, Variant
from cutaway.core.errors import CutawayError
from cutaway.decoder import Site
from cutaway.decoder.config import DecoderConfig

PATCHABLE = (*REPLACEABLE, "attn_out", "q", "k", "v", "pattern")
"""Kinds of sites that a grid may patch."""

Source = tuple[str, str | None]
"""Which values replace: the input of the heads that is patched (`output` for none), and for keys and values at which role."""


def as_variant(site: Site, role: str | None, config: DecoderConfig) -> tuple[Source, Variant]:
    """The variant that patching `site` at the tokens of `role` is, and the reference that it takes its values from.

    Raises:
        CutawayError: a kind of site that no grid patches.
    """
    if site.kind not in PATCHABLE:
        raise CutawayError(f"site {site} cannot be patched here: give one of {', '.join(PATCHABLE)}")
    if site.kind in REPLACEABLE:
        return ("output", None), Variant(frozenset([site]), role)
    heads: Sequence[int | None] = [site.head]
    if site.kind in ("k", "v") and site.head is not None:  # all query heads that share this one
        group = config.n_heads // config.n_kv_heads
        heads = range(site.head * group, (site.head + 1) * group)
    z = frozenset(Site(site.layer, "z", head) for head in heads)
    if site.kind == "attn_out":
        return ("output", None), Variant(z, role)
    return ((site.kind, role), Variant(z)) if site.kind in ("k", "v") else ((site.kind, None), Variant(z, role))


def reference_of(kind: Source, engine: Engine, trace: Trace, source: Engine, found: Trace) -> Reference:
    """The values that replace, from another run of the same prompts.

    Args:
        trace, found: the base run of `engine`, and the run of `source`.
    """
    outputs = from_run(engine, source, found)
    what, role = kind
    if what == "output":
        return outputs
    index = align(engine.prompts, source.prompts, len(engine.behavior.slots))
    where = index >= 0
    if role is not None:
        where = where & engine.behavior.slot_mask(engine.prompts, role)
    z = tuple(_z(what, layer.index, engine, trace, source, found, index, where) for layer in engine.model.layers)
    every = torch.ones_like(where) if what in ("k", "v") else where | ~engine.prompts.mask
    return Reference(z, trace.mlp_out, trace.resid_pre, every, outputs.first)


def _z(
    what: str, index: int, engine: Engine, trace: Trace, source: Engine, found: Trace, place: Tensor, where: Tensor
) -> Tensor:
    """What the heads of a layer compute with one input replaced, at the tokens `where`."""
    layer, frame = engine.model.layers[index], engine.frame
    if what == "pattern":
        pattern = _rows_and_columns(_pattern(source, found, index), place, engine.offset)
        old = _pattern(engine, trace, index)
        pattern = torch.where(where[:, None, :, None], pattern, old)
        return layer.mix(pattern, engine.behind(index, trace.k[index], trace.v[index])[1])
    channels = ("q", "k", "v")
    parts: dict[str, Tensor] = dict(zip(channels, layer.qkv(trace.resid_pre[index]), strict=True))
    theirs = layer.qkv(found.resid_pre[index])[channels.index(what)]
    picked = theirs.gather(1, place.clamp(min=0)[..., None, None].expand(-1, -1, *theirs.shape[2:]))
    parts[what] = torch.where(where[..., None, None], picked, parts[what])
    q, k = layer.rotated(parts["q"], parts["k"], frame)
    return layer.attend(q, *engine.behind(index, k, parts["v"]), frame)


def _pattern(engine: Engine, trace: Trace, index: int) -> Tensor:
    layer = engine.model.layers[index]
    q, k, v = layer.qkv(trace.resid_pre[index])
    q, k = layer.rotated(q, k, engine.frame)
    return layer.pattern(q, engine.behind(index, k, v)[0], engine.frame)


def _rows_and_columns(pattern: Tensor, place: Tensor, offset: int) -> Tensor:
    """A pattern of other prompts with the queries and keys of these, slot by slot; a key that is not there weighs nothing."""
    past = torch.arange(offset, device=place.device).expand(len(place), -1)
    keys = torch.cat([past, torch.where(place >= 0, place + offset, -1)], dim=1)
    heads, queries = pattern.shape[1], place.shape[1]
    rows = pattern.gather(2, place.clamp(min=0)[:, None, :, None].expand(-1, heads, -1, pattern.shape[-1]))
    picked = rows.gather(3, keys.clamp(min=0)[:, None, None].expand(-1, heads, queries, -1))
    return picked * (keys >= 0)[:, None, None]
