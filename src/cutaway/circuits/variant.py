"""A variant of a forward pass, and what it is made from: the run it departs from, and the values it puts in place.

Positions count from the end of the shared past (see `Engine`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Site

REPLACEABLE = ("z", "mlp_out", "resid_pre")
"""Kinds of sites a variant may replace."""


@dataclass(frozen=True)
class Variant:
    """Sites to replace: `z` of a head, `mlp_out`, or `resid_pre`; at the tokens of one role, or everywhere.

    `source` says which of the values, where a reference holds several for each prompt.

    Raises:
        CutawayError: a site of another kind.
    """

    replaced: frozenset[Site]
    role: str | None = None
    source: int = 0

    def __post_init__(self):
        for site in self.replaced:
            if site.kind not in REPLACEABLE:
                raise CutawayError(f"site {site} cannot be replaced here: give z, mlp_out or resid_pre")


@dataclass(frozen=True)
class Trace:
    """What a run leaves for others to resume from.

    `z` and `mlp_out` are what was computed, before any of it was replaced; `written` is what the heads then added to the
    stream. `q` and `k` are rotated. A run that nobody resumes from may have kept less.
    """

    logits: Float[Tensor, "batch step column"]
    resid_pre: tuple[Float[Tensor, "batch pos d_model"], ...] = ()
    q: tuple[Float[Tensor, "batch pos head d_head"], ...] = ()
    k: tuple[Float[Tensor, "batch pos kv_head d_head"], ...] = ()
    v: tuple[Float[Tensor, "batch pos kv_head d_head"], ...] = ()
    z: tuple[Float[Tensor, "batch pos head d_head"], ...] = ()
    written: tuple[Float[Tensor, "batch pos d_model"], ...] = ()
    mlp_out: tuple[Float[Tensor, "batch pos d_model"], ...] = ()

    def until(self, width: int, steps: Sequence[int]) -> "Trace":
        """The run of the first `width` tokens, scored at some of the steps: nothing in it depends on what comes after."""
        parts = {f.name: tuple(x[:, :width] for x in getattr(self, f.name)) for f in fields(self) if f.name != "logits"}
        return Trace(self.logits[:, list(steps)], **parts)


@dataclass(frozen=True)
class Reference:
    """The values that replace, layer by layer: one row per prompt; or so several times over, one *source* after the other.

    `where` marks the tokens that have a value (and padding, where nothing matters); `first` is the first position, for
    each prompt or for all, at which a value can differ from the base run.
    """

    z: tuple[Float[Tensor, "_rows pos head d_head"], ...]
    mlp_out: tuple[Float[Tensor, "_rows pos d_model"], ...]
    resid_pre: tuple[Float[Tensor, "_rows pos d_model"], ...]
    where: Bool[Tensor, "batch pos"]
    first: Int[Tensor, " batch"] | int = 0
    _written: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def written(self, layer) -> Float[Tensor, "_rows pos d_model"]:
        """What a layer adds to the stream when all of its heads are replaced; computed once."""
        if layer.index not in self._written:
            self._written[layer.index] = layer.write(self.z[layer.index])
        return self._written[layer.index]


def head_sites(model: Decoder) -> list[Site]:
    return [Site(layer, "z", head) for layer in range(model.config.n_layers) for head in range(model.config.n_heads)]


def without(heads: Iterable[Site], model: Decoder) -> Variant:
    """The variant in which all heads but these are replaced: a circuit on its own.

    Raises:
        CutawayError: something that is no head of the model.
    """
    every, heads = frozenset(head_sites(model)), frozenset(heads)
    if strangers := heads - every:
        named = ", ".join(map(str, strangers))
        raise CutawayError(f"a circuit is made of heads of the model, such as 0.0; not of {named}")
    return Variant(every - heads)


@dataclass(frozen=True)
class Masks:
    """Which sites some variants replace, one row a variant."""

    z: Bool[Tensor, "variant layer head"]
    mlp_out: Bool[Tensor, "variant layer"]
    resid_pre: Bool[Tensor, "variant layer"]

    @classmethod
    def of(cls, variants: Sequence[Variant], model: Decoder) -> "Masks":
        c, n = model.config, len(variants)
        z = torch.zeros(n, c.n_layers, c.n_heads, dtype=torch.bool)
        streams = {kind: torch.zeros(n, c.n_layers, dtype=torch.bool) for kind in ("mlp_out", "resid_pre")}
        for row, variant in enumerate(variants):
            for site in variant.replaced:
                if site.kind == "z":
                    z[row, site.layer, slice(None) if site.head is None else site.head] = True
                else:
                    streams[site.kind][row, site.layer] = True
        return cls(z, **streams).map(lambda mask: mask.to(model.device))

    def map(self, change: Callable[[Tensor], Tensor]) -> "Masks":
        return Masks(change(self.z), change(self.mlp_out), change(self.resid_pre))

    def join(self, other: "Masks", how: Callable[[Tensor, Tensor], Tensor]) -> "Masks":
        return Masks(*(how(a, b) for a, b in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.z, self.mlp_out, self.resid_pre

    @property
    def layers(self) -> Bool[Tensor, "variant layer"]:
        """Is anything replaced in this layer?"""
        return self.z.any(-1) | self.mlp_out | self.resid_pre

    @property
    def count(self) -> Int[Tensor, " variant"]:
        """Sites replaced, over all layers."""
        return self.z.flatten(1).sum(1) + self.mlp_out.sum(1) + self.resid_pre.sum(1)
