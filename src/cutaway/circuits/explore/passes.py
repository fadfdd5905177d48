"""One run of a phrase with some sites replaced, begun at the first layer that differs from a run that is known."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cutaway.decoder import Decoder, Patch, Site
from cutaway.decoder.patch import Patches

KEPT = ("z", "mlp_out", "pattern")
"""Sites that a run keeps, as they were computed, before any of it was replaced."""


@dataclass(frozen=True)
class Change:
    """Values put at one site of a layer, all of its heads at once, where the mask says so.

    Two changes of one phrase that have the same `name` are the same.
    """

    name: Hashable
    site: Site
    values: Float[Tensor, "1 pos *axes"]
    where: Bool[Tensor, "1 pos *some_axes"]

    def patch(self) -> Patch:
        return Patch(self.site, self._put)

    def _put(self, x: Tensor) -> Tensor:
        return torch.where(self.where.to(x.device), self.values.to(x), x)


@dataclass(frozen=True)
class Pass:
    """A run: its changes by name, what every layer read (before a change of it), and what it said."""

    changes: dict[Hashable, Change]
    resid_pre: tuple[Float[Tensor, "1 pos d_model"], ...]
    """One more than there are layers: the last is what the unembedding reads."""
    logits: Float[Tensor, "step vocab"]
    z: tuple[Float[Tensor, "1 pos head d_head"], ...] = field(repr=False)
    mlp_out: tuple[Float[Tensor, "1 pos d_model"], ...] = field(repr=False)
    pattern: tuple[Float[Tensor, "1 head query key"], ...] = field(repr=False)


def run(
    model: Decoder, tokens: Sequence[int], steps: int, changes: Iterable[Change] = (), known: Iterable[Pass] = ()
) -> Pass:
    """Runs the tokens, with the logits of the whole vocabulary at the last `steps` of them.

    Args:
        known: runs of the same tokens; what lies below the first layer that differs is taken from the one that is alike
            the longest.
    """
    named = {change.name: change for change in changes}
    low, like = max(
        ((_alike(model, named, run.changes), run) for run in known), key=lambda found: found[0], default=(0, None)
    )
    frame, resid = model.start(torch.tensor([list(tokens)], device=model.device))
    streams: list[Tensor] = []
    kept: dict[str, list[Tensor]] = {kind: [] for kind in KEPT}
    if like is not None:
        resid, streams = like.resid_pre[low], list(like.resid_pre[:low])
        kept = {kind: list(getattr(like, kind)[:low]) for kind in KEPT}
    patches = Patches(change.patch() for change in named.values())
    for layer in model.layers[low:]:
        streams.append(resid)
        resid = layer(resid, frame, partial(_touch, patches, kept, layer.index))
    scored = torch.arange(len(tokens) - steps, len(tokens), device=model.device)[None]
    parts = {kind: tuple(values) for kind, values in kept.items()}
    return Pass(named, (*streams, resid), model.logits(resid, scored)[0].float(), **parts)


def _touch(patches: Patches, kept: dict[str, list[Tensor]], layer: int, kind: str, x: Tensor) -> Tensor:
    """What a layer calls at its sites: keep, then replace."""
    if kind in kept:
        kept[kind].append(x)
    return patches(Site(layer, kind), x)


def _alike(model: Decoder, ours: dict[Hashable, Change], theirs: dict[Hashable, Change]) -> int:
    """The first layer where two runs differ; as many as there are layers, if they do not."""
    differing = [(ours.get(name) or theirs[name]).site.layer for name in ours.keys() ^ theirs.keys()]
    return min(differing, default=model.config.n_layers)
