"""Exact path patching: what one part of the model does to the answer through one input of another part.

    effect(sender → receiver) = metric when the receiver reads what the sender would have written − metric of the base run

Wang et al. 2022 (arXiv 2211.00593, §3.1 and appendix); Goldowsky-Dill et al. 2023 (arXiv 2304.05969). Two steps:

1. The sender's output is replaced and all heads are held at what they put out in the base run, so that the change reaches the
   receiver by the residual stream alone: directly (MLPs held as well), or through MLPs (MLPs computed anew).
   Only one input of the receiver changes: the queries, the keys or the values of a head, or the input of an MLP. What the
   receiver puts out then is noted.
2. The receiver's output is replaced by that, in a run in which all else is free. For the logits as the receiver there is
   no second step: the effect is the direct one.

Step 1 runs for all senders of a layer at once, and for all receivers of each: one pass up the stream. Step 2 is a variant for
each edge (`engine.py`), so that it starts at the receiver and shares what the variants share; the edges of those senders go
together, each with its sender's and its input's own values.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.effects import Convention, EdgeMap
from cutaway.circuits.engine import TOKEN_BUDGET, Engine, shared_past
from cutaway.circuits.graph import CHANNELS, EMBED, LOGITS, Edge, Receiver, Sender, feeds, heads_of
from cutaway.circuits.graph import edges as all_edges
from cutaway.circuits.metrics import scorer
from cutaway.circuits.patching import SIGNS, Tick
from cutaway.circuits.reference import from_run
from cutaway.circuits.resume import fingerprint
from cutaway.circuits.variant import Reference, Trace, Variant
from cutaway.core.errors import CutawayError
from cutaway.core.journal import name_of
from cutaway.core.work import Groups, Work
from cutaway.decoder import Decoder, Site
from cutaway.decoder.model import Layer

TOGETHER = 8
"""Senders of a layer go up the stream together: as many as fit into so many budgets of tokens."""


def path_patch(
    model: Decoder,
    behavior: Behavior,
    corruption: str,
    *,
    edges: Sequence[Edge] | None = None,
    through_mlps: bool = False,
    direction: Literal["noising", "denoising"] = "noising",
    metric: str = "logit_diff",
    budget: int = TOKEN_BUDGET,
    tick: Tick = lambda done: None,
    work: Work | None = None,
) -> EdgeMap:
    """Exact effect of each edge on each answer token.

    Args:
        edges: all of the model if None; those with one sender share the first step.
        through_mlps: the sender reaches the receiver through the MLPs between them as well.
        direction, metric, budget, tick, work: as in `patching.sweep`.

    Raises:
        CutawayError: no such corruption or direction, or an edge that the model has not.
    """
    if corruption not in behavior.corruptions:
        known = ", ".join(behavior.corruptions)
        raise CutawayError(f"behaviour {behavior.name!r} has no corruption {corruption!r}: it has {known}")
    if direction not in SIGNS:
        raise CutawayError(f"direction is {direction!r}: give {' or '.join(SIGNS)}")
    cells = tuple(all_edges(model.config) if edges is None else (_checked(edge, model) for edge in edges))
    work, past, prompts = work or Work(), shared_past(model, behavior), fingerprint(behavior)
    values = torch.full((len(cells), len(behavior), behavior.n_steps), torch.nan)
    for number, (steps, corrupt) in enumerate(behavior.corruptions[corruption].runs):
        base, source = (behavior.clean, corrupt) if direction == "noising" else (corrupt, behavior.clean)
        score = scorer(behavior).steps(steps)

        def patched(mine: list[int], steps=steps, base=base, source=source, score=score) -> Groups:
            engine, other = (
                Engine(model, behavior, rows, columns=score.columns, steps=steps, past=past, budget=budget)
                for rows in (base, source)
            )
            stream = Stream.of(engine, other, through_mlps)
            before = score.measure(metric, stream.trace.logits)
            groups = stream.logits([cells[i] for i in mine])
            return ((group, score.measure(metric, logits) - before) for group, logits in groups)

        about = ("paths", model.source, prompts, corruption, number, direction, metric, through_mlps)
        names = [name_of(*about, str(edge)) for edge in cells]
        with torch.inference_mode():
            values[:, :, list(steps)] = work.measure(names, (len(behavior), len(steps)), patched, tick)
    convention = Convention(
        "exact", direction, corruption, metric, SIGNS[direction], model.source, len(behavior),
        int(behavior.recipe.get("seed", 0)),
    )  # fmt: skip
    return EdgeMap(cells, behavior.step_names, values, convention)


def _checked(edge: Edge, model: Decoder) -> Edge:
    for end in (edge.sender, edge.receiver):
        if isinstance(end, Site):
            end.check(model.config)
    if not feeds(edge.sender, edge.receiver, model.config):
        raise CutawayError(f"edge {edge}: {edge.sender} stands after what {edge.receiver} reads; give a later receiver")
    return edge


@dataclass(frozen=True)
class Reached:
    """What the receivers above a sender put out when each reads the changed stream: layer by layer, for some senders.

    Layers that were not asked for are absent.
    """

    z: dict[str, dict[int, Float[Tensor, "sender batch pos head d_head"]]]
    """channel → layer → every head's z with that input of it changed."""
    mlp_out: dict[int, Float[Tensor, "sender batch pos d_model"]]
    logits: Float[Tensor, "sender batch step column"]


@dataclass(frozen=True)
class Stream:
    """The residual stream of a base run, and what senders would add to it."""

    engine: Engine
    trace: Trace
    reference: Reference
    through_mlps: bool

    @classmethod
    def of(cls, engine: Engine, other: Engine, through_mlps: bool) -> "Stream":
        return cls(engine, engine.trace(), from_run(engine, other, other.trace()), through_mlps)

    def logits(self, edges: Sequence[Edge]) -> Iterator[tuple[list[int], Float[Tensor, "edge batch step column"]]]:
        """Logits with each edge patched, some at a time: (indices into `edges`, logits)."""
        by_sender: dict[Sender, list[int]] = {}
        for i, edge in enumerate(edges):
            by_sender.setdefault(edge.sender, []).append(i)
        for together in self._together(list(by_sender)):
            asked = {edges[i].receiver for sender in together for i in by_sender[sender]}
            reached = self.ascend(together, {(r.kind, r.layer) for r in asked if isinstance(r, Site)})
            some = [(i, s) for s, sender in enumerate(together) for i in by_sender[sender]]
            yield from self._receive(reached, some, edges)

    def _together(self, senders: list[Sender]) -> Iterator[list[Sender]]:
        """Senders of one layer, as many as the budget allows; the embedding alone."""
        layers: dict[int, list[Sender]] = {}
        for sender in senders:
            layers.setdefault(-1 if sender == EMBED else sender.layer, []).append(sender)
        room = max(1, TOGETHER * self.engine.budget // self.engine.prompts.tokens.numel())
        for group in layers.values():
            yield from (group[i : i + room] for i in range(0, len(group), room))

    # --- step 1: from the senders up ----------------------------------------------------------------------------------

    def ascend(self, senders: Sequence[Sender], asked: Set[tuple[str, int]]) -> Reached:
        """What receivers above put out; the senders all stand in one layer, or are the embedding.

        Args:
            asked: (kind, layer) of the receivers wanted; the logits always are.
        """
        model, trace = self.engine.model, self.trace
        bottom = -1 if senders[0] == EMBED else senders[0].layer
        at_heads, at_mlp = (self._writes(senders, kind) for kind in ("z", "mlp_out"))
        added = self._writes(senders, "resid_pre")
        z: dict[str, dict[int, Tensor]] = {channel: {} for channel in CHANNELS}
        mlp_out: dict[int, Tensor] = {}
        for layer in model.layers[max(bottom, 0) :]:
            i, resid, added = layer.index, trace.resid_pre[layer.index], layer.here(added)
            for channel in CHANNELS:
                if (channel, i) in asked:
                    z[channel][i] = self._attend(layer, added, channel)
            above = added + at_heads if i == bottom else added
            if self.through_mlps or ("mlp_out", i) in asked:
                mid = resid if layer.config.parallel else resid + _attn_out(layer, layer.write(trace.z[i]))
                mlp_out[i] = layer.mlp(mid + (added if layer.config.parallel else above))
                above = above + (mlp_out[i] - trace.mlp_out[i]) if self.through_mlps else above
            added = above + at_mlp if i == bottom else above
        last = model.layers[-1]
        resid = last.finish(trace.resid_pre[-1], last.write(trace.z[-1])) + last.here(added)
        at = self.engine.prompts.steps.repeat(len(senders), 1)
        logits = model.logits(resid.flatten(0, 1), at, self.engine.columns).unflatten(0, (len(senders), -1))
        return Reached(z, mlp_out, logits)

    def _writes(self, senders: Sequence[Sender], kind: str) -> Float[Tensor, "sender batch pos d_model"]:
        """What the senders of one kind would add to the stream; zero for those of another kind."""
        trace, bottom = self.trace, 0 if senders[0] == EMBED else senders[0].layer
        out = torch.zeros_like(trace.resid_pre[bottom]).repeat(len(senders), 1, 1, 1)
        for row, sender in zip(out, senders, strict=True):
            site = Site(0, "resid_pre") if sender == EMBED else sender
            if site.kind != kind:
                continue
            old, new = (getattr(of, kind)[site.layer] for of in (trace, self.reference))
            where = self.reference.where.to(old.device)
            new = torch.where(where.reshape(*where.shape, *[1] * (old.ndim - 2)), new, old)
            if kind == "z":
                layer, swapped = self.engine.model.layers[site.layer], old.clone()
                swapped[:, :, site.head] = new[:, :, site.head]
                row.copy_(_attn_out(layer, layer.write(swapped)) - _attn_out(layer, layer.write(old)))
            else:
                row.copy_(new - old)
        return out

    def _attend(
        self, layer: Layer, added: Float[Tensor, "sender batch pos d_model"], channel: str
    ) -> Float[Tensor, "sender batch pos head d_head"]:
        """z of every head of a layer with its queries, its keys or its values changed."""
        resid, senders = self.trace.resid_pre[layer.index], len(added)
        changed = dict(zip(CHANNELS, layer.qkv((resid + added).flatten(0, 1)), strict=True))
        same = dict(zip(CHANNELS, layer.qkv(resid), strict=True))
        q, k, v = (changed[c] if c == channel else same[c].repeat(senders, 1, 1, 1) for c in CHANNELS)
        frame, past = self.engine.frame, self.engine.past
        return layer.mix(layer.pattern(*layer.rotated(q, k, frame), frame, past), v, past).unflatten(0, (senders, -1))

    # --- step 2: from each receiver on --------------------------------------------------------------------------------

    def _receive(
        self, reached: Reached, some: list[tuple[int, int]], edges: Sequence[Edge]
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Logits of some edges: each an index into `edges`, and the number of its sender among those of `reached`."""
        groups: dict[str, list[tuple[int, tuple[str, int]]]] = {}
        for i, s in some:
            kind = _kind(edges[i].receiver)
            groups.setdefault("z" if kind in CHANNELS else kind, []).append((i, (kind, s)))
        for output, members in groups.items():
            indices, reads = zip(*members, strict=True)
            if output == LOGITS:
                yield list(indices), reached.logits[[s for _, s in reads]]
                continue
            number = {read: n for n, read in enumerate(dict.fromkeys(reads))}
            variants = [
                Variant(self._replaced(edges[i].receiver), source=number[read])
                for i, read in zip(indices, reads, strict=True)
            ]
            reference = self._reference(reached, output, list(number))
            for group, logits in self.engine.run(variants, reference, self.trace):
                yield [indices[g] for g in group], logits

    def _replaced(self, receiver: Receiver) -> frozenset[Site]:
        heads = heads_of(receiver, self.engine.model.config)
        return frozenset({receiver}) if isinstance(receiver, Site) and not heads else heads

    def _reference(self, reached: Reached, output: str, sources: list[tuple[str, int]]) -> Reference:
        """What the receivers put out when they read a sender's change at one kind of input: for each of the sources."""
        trace, everywhere = self.trace, torch.ones_like(self.reference.where)
        z, mlp_out = trace.z, trace.mlp_out
        if output == "mlp_out":
            mlp_out = _stacked(mlp_out, [(reached.mlp_out, s) for _, s in sources])
        else:
            z = _stacked(z, [(reached.z[channel], s) for channel, s in sources])
        return Reference(z, mlp_out, trace.resid_pre, everywhere, self.reference.first)


def _kind(receiver: Receiver) -> str:
    return LOGITS if receiver == LOGITS else receiver.kind


def _stacked(base: tuple[Tensor, ...], sources: list[tuple[dict[int, Tensor], int]]) -> tuple[Tensor, ...]:
    """For each layer the sources' values, one after the other; a layer that none of them has stays as it is.

    They are taken out of where they were, so that no layer's values are held twice.
    """
    stacked = list(base)
    for i, x in enumerate(base):
        if any(i in changed for changed, _ in sources):
            stacked[i] = torch.cat([changed[i][s] if i in changed else x for changed, s in sources])
        for changed, _ in sources:
            changed.pop(i, None)
    return tuple(stacked)


def _attn_out(layer: Layer, written: Tensor) -> Tensor:
    """What the heads add to the stream: what they wrote, behind the second norm where there is one."""
    return layer.post1(written) if layer.config.post_norms else written
