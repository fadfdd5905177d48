"""Exact patching without the wasted work.

A *variant* of a forward pass replaces the output of some sites by reference values, everywhere or at the tokens of one
role. Patching a head, ablating all heads but a circuit, dropping one head of it: all of these are variants, and this
file is the only one that runs them. It does no work whose result is known beforehand:

1. tokens that all prompts share in front (a worked example) are run once and kept as keys and values;
2. the base run is kept, and a variant resumes at the first layer where it differs from it …
3. … from the first position where it can differ, over the kept keys and values of the positions before;
4. positions after the last scored one are dropped, and only the scored positions and columns are unembedded;
5. variants are stacked along the batch, as many as the token budget allows: one pass goes up through the layers, and
   each variant joins it at the layer where it begins, so that the matrix products stay large;
6. attention of a layer whose heads are all replaced is not computed.

Tests hold every shortcut to the naive loop (one full pass with `Patch`es per variant) at 1e-4.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Prompts, align
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Past, Site
from cutaway.decoder.model import Frame

REPLACEABLE = ("z", "mlp_out", "resid_pre")
"""Kinds of sites a variant may replace."""

TOKEN_BUDGET = 4096
"""Tokens in flight at once: enough for full-speed matrix products, small enough for caches and memory."""


@dataclass(frozen=True)
class Variant:
    """Sites to replace: `z` of a head, `mlp_out`, or `resid_pre`; at the tokens of one role, or everywhere.

    Raises:
        CutawayError: a site of another kind.
    """

    replaced: frozenset[Site]
    role: str | None = None

    def __post_init__(self):
        for site in self.replaced:
            if site.kind not in REPLACEABLE:
                raise CutawayError(f"site {site} cannot be replaced here: give z, mlp_out or resid_pre")


@dataclass(frozen=True)
class Trace:
    """What a run leaves for others to resume from; positions count from the end of the shared past.

    `z` is what the heads computed, before any of it was replaced.
    """

    resid_pre: tuple[Float[Tensor, "batch pos d_model"], ...]
    z: tuple[Float[Tensor, "batch pos head d_head"], ...]
    mlp_out: tuple[Float[Tensor, "batch pos d_model"], ...]
    k: tuple[Float[Tensor, "batch pos kv_head d_head"], ...]
    v: tuple[Float[Tensor, "batch pos kv_head d_head"], ...]
    logits: Float[Tensor, "batch step column"]


@dataclass(frozen=True)
class Reference:
    """The values that replace: for each layer, one row per prompt or one for all.

    `where` marks the tokens that have a value (and padding, where nothing matters); `first` is the first position at
    which a value can differ from the base run. Positions count from the end of the shared past.
    """

    z: tuple[Float[Tensor, "rows pos head d_head"], ...]
    mlp_out: tuple[Float[Tensor, "rows pos d_model"], ...]
    resid_pre: tuple[Float[Tensor, "rows pos d_model"], ...]
    where: Bool[Tensor, "batch pos"]
    first: int = 0


class Engine:
    """Runs variants of one batch of prompts.

    Args:
        steps: which answer steps to score; later tokens are dropped.
        columns: token ids whose logits are wanted.
        past: the shared leading tokens, run by `shared_past`.
    """

    def __init__(
        self,
        model: Decoder,
        behavior: Behavior,
        prompts: Prompts,
        *,
        columns: Int[Tensor, " column"],
        steps: Sequence[int] | None = None,
        past: Past | None = None,
        budget: int = TOKEN_BUDGET,
    ):
        self.model, self.behavior, self.columns, self.past, self.budget = model, behavior, columns, past, budget
        self.offset = past.length if past else 0
        scored = prompts.steps if steps is None else prompts.steps[:, list(steps)]
        keep = slice(self.offset, int(scored.max()) + 1)
        self.prompts = Prompts(prompts.tokens[:, keep], prompts.slots[:, keep], scored - self.offset)
        self.frame = self._frame(0)
        self.config = model.config

    # --- the base run ---------------------------------------------------------------------------------------------

    def trace(self, variant: Variant | None = None, reference: Reference | None = None) -> Trace:
        """Runs the prompts from the first layer, with one variant's replacements, and keeps what others resume from."""
        model, kept = self.model, {name: [] for name in ("resid_pre", "z", "mlp_out", "k", "v")}
        swap = _Swap(self, [variant], reference, 0) if variant and reference else None
        _, resid = model.start(self.prompts.tokens, past=self.past)
        for layer in model.layers:
            kept["resid_pre"].append(resid)
            resid = swap.resid(layer.index, resid) if swap else resid
            q, k, v = layer.qkv(resid)
            q, k = layer.rotated(q, k, self.frame)
            z = layer.mix(layer.pattern(q, k, self.frame, self.past), v, self.past)
            for name, value in (("z", z), ("k", k), ("v", v)):
                kept[name].append(value)
            touch = _OnMlp(layer.index, swap, kept["mlp_out"])
            resid = layer.finish(resid, layer.write(swap.z(layer.index, z) if swap else z), touch)
        return Trace(**{name: tuple(values) for name, values in kept.items()}, logits=self._read(resid, 0))

    def _frame(self, start: int) -> Frame:
        """For the tokens from `start` on; all rows alike, because padding stands to the right of all that is scored."""
        positions = torch.arange(
            self.offset + start, self.offset + self.prompts.tokens.shape[1], device=self.columns.device
        )
        return self.model.frame(positions[None], before=self.offset + start)

    def _read(self, resid: Tensor, start: int) -> Float[Tensor, "batch step column"]:
        at = (self.prompts.steps - start).clamp(min=0)
        return self.model.logits(resid, at.repeat(len(resid) // len(self.prompts), 1), self.columns)

    # --- variants -------------------------------------------------------------------------------------------------

    def run(
        self, variants: Sequence[Variant], reference: Reference, base: Trace, background: Variant | None = None
    ) -> Iterator[tuple[list[int], Float[Tensor, "variant batch step column"]]]:
        """Logits of each variant, in batches, as they are ready: (indices into `variants`, logits).

        `base` is the trace of `background` (of the untouched run, if None).
        """
        background = background or Variant(frozenset())
        plans = [self._start(variant, background, reference) for variant in variants]
        done = [i for i, plan in enumerate(plans) if plan is None]
        if done:
            yield done, base.logits.expand(len(done), *base.logits.shape)
        todo = sorted((plan, i) for i, plan in enumerate(plans) if plan is not None)
        batch, width = len(self.prompts), self.prompts.tokens.shape[1]
        for start in sorted({start for (start, _), _ in todo}):
            group = [(layer, i) for (at, layer), i in todo if at == start]
            room = max(1, self.budget // (batch * (width - start)))
            for chunk in (group[i : i + room] for i in range(0, len(group), room)):
                layers, indices = [layer for layer, _ in chunk], [i for _, i in chunk]
                yield indices, self._climb([variants[i] for i in indices], layers, start, reference, base)

    def logits(
        self, variants: Sequence[Variant], reference: Reference, base: Trace, background: Variant | None = None
    ) -> Float[Tensor, "variant batch step column"]:
        """Logits of all variants together, in their order."""
        out = base.logits.new_empty(len(variants), *base.logits.shape)
        for group, logits in self.run(variants, reference, base, background):
            out[group] = logits
        return out

    def _start(self, variant: Variant, background: Variant, reference: Reference) -> tuple[int, int] | None:
        """First (position, layer) at which a variant can differ from the base run; None if it cannot."""
        if any(site.kind == "resid_pre" for site in background.replaced):
            raise ValueError(
                "a background replaces heads and MLPs only: its residual stream is what variants resume from"
            )
        if variant.role == background.role or not background.replaced:
            differs = variant.replaced ^ background.replaced
        else:
            differs = variant.replaced | background.replaced
        if not differs:
            return None
        where = self._where(variant.role, reference)
        if background.replaced and variant.role != background.role:
            where = where | self._where(background.role, reference)
        places = where.any(0).nonzero()
        places = places[places >= reference.first]
        return (int(places.min()), min(site.layer for site in differs)) if len(places) else None

    def _where(self, role: str | None, reference: Reference) -> Bool[Tensor, "batch pos"]:
        return reference.where if role is None else reference.where & self.behavior.slot_mask(self.prompts, role)

    def _climb(
        self, variants: list[Variant], enters: list[int], start: int, reference: Reference, base: Trace
    ) -> Float[Tensor, "variant batch step column"]:
        """One pass up through the layers, from position `start`; variant i joins at layer `enters[i]` (ascending)."""
        swap = _Swap(self, variants, reference, start)
        frame, past = self._frame(start), self._past_until(start, base)
        resid = base.resid_pre[0].new_empty(0, base.resid_pre[0].shape[1] - start, self.config.d_model)
        inside = 0
        for layer in self.model.layers[enters[0] :]:
            index, joining = layer.index, bisect_right(enters, layer.index) - inside
            inside += joining
            # those that join still read what the base run read here, unless their residual stream is replaced
            fresh = joining if swap.touches_resid(index) else 0
            ready = _stacked(base.z[index], joining - fresh, start)
            resid = swap.resid(index, torch.cat([resid, _stacked(base.resid_pre[index], joining, start)]))
            z = resid.new_empty(0, *ready.shape[1:])
            if swap.replaces_all(index, inside):
                ready = _stacked(base.z[index], inside, start)  # of which nothing remains
            elif rows := len(resid) - len(ready):
                q, k, v = layer.qkv(resid[:rows])
                z = layer.mix(layer.pattern(*layer.rotated(q, k, frame), frame, past), v, past)
            written = layer.write(swap.z(index, torch.cat([z, ready])))
            resid = layer.finish(resid, written, _OnMlp(index, swap))
        # steps scored before the first difference are as they were
        after = (self.prompts.steps >= start)[..., None]
        return torch.where(after, self._read(resid, start).unflatten(0, (inside, -1)), base.logits)

    def _past_until(self, start: int, base: Trace) -> Past | None:
        if start == 0:
            return self.past
        if self.past is None:
            return Past(tuple(k[:, :start] for k in base.k), tuple(v[:, :start] for v in base.v))
        rows = len(self.prompts)
        join = [
            (
                torch.cat([pk.expand(rows, -1, -1, -1), k[:, :start]], 1),
                torch.cat([pv.expand(rows, -1, -1, -1), v[:, :start]], 1),
            )
            for pk, pv, k, v in zip(self.past.k, self.past.v, base.k, base.v, strict=True)
        ]
        return Past(tuple(k for k, _ in join), tuple(v for _, v in join))


class _Swap:
    """Puts reference values in place of activations, for variants stacked along the batch, positions from `start` on."""

    def __init__(self, engine: Engine, variants: list[Variant], reference: Reference, start: int):
        self.reference, self.start, self.batch = reference, start, len(engine.prompts)
        cells = len(variants)
        wheres = {role: engine._where(role, reference)[:, start:] for role in {v.role for v in variants}}
        self.where = torch.stack([wheres[v.role] for v in variants])  # [cell, batch, pos]
        self.everywhere = all(v.role is None for v in variants) and bool(self.where.all())
        heads: dict[int, Tensor] = {}
        streams: dict[tuple[str, int], Tensor] = {}
        for cell, variant in enumerate(variants):
            for site in variant.replaced:
                if site.kind == "z":
                    mask = heads.setdefault(site.layer, torch.zeros(cells, engine.config.n_heads, dtype=torch.bool))
                    mask[cell, slice(None) if site.head is None else site.head] = True
                else:
                    streams.setdefault((site.kind, site.layer), torch.zeros(cells, dtype=torch.bool))[cell] = True
        self.heads = {layer: mask.to(self.where.device) for layer, mask in heads.items()}
        self.streams = {key: mask.to(self.where.device) for key, mask in streams.items()}

    def replaces_all(self, layer: int, cells: int) -> bool:
        """Are all heads of this layer replaced everywhere, in the first `cells` variants?"""
        return self.everywhere and layer in self.heads and bool(self.heads[layer][:cells].all())

    def touches_resid(self, layer: int) -> bool:
        return ("resid_pre", layer) in self.streams

    def z(self, layer: int, z: Float[Tensor, "rows pos head d_head"]) -> Float[Tensor, "rows pos head d_head"]:
        if layer not in self.heads:
            return z
        cells = len(z) // self.batch
        mask = self.heads[layer][:cells, None, None, :] & self.where[:cells, ..., None]  # [cell, batch, pos, head]
        values = self.reference.z[layer][None, :, self.start :]
        return torch.where(mask[..., None], values, z.unflatten(0, (cells, -1))).flatten(0, 1)

    def mlp(self, layer: int, x: Tensor) -> Tensor:
        return self._stream("mlp_out", self.reference.mlp_out, layer, x)

    def resid(self, layer: int, x: Tensor) -> Tensor:
        return self._stream("resid_pre", self.reference.resid_pre, layer, x)

    def _stream(self, kind: str, values: tuple[Tensor, ...], layer: int, x: Tensor) -> Tensor:
        if (kind, layer) not in self.streams:
            return x
        cells = len(x) // self.batch
        mask = self.streams[kind, layer][:cells, None, None] & self.where[:cells]
        new, old = values[layer][None, :, self.start :], x.unflatten(0, (cells, -1))
        return torch.where(mask[..., None], new, old).flatten(0, 1)


def _stacked(x: Tensor, cells: int, start: int) -> Tensor:
    """The rows of the base run from position `start`, once for each of `cells` variants."""
    return x[:, start:].expand(cells, -1, *[-1] * (x.ndim - 1)).flatten(0, 1)


class _OnMlp:
    """What a layer calls at its sites: keeps the MLP's output if asked to, then replaces it if it is to be replaced."""

    def __init__(self, layer: int, swap: _Swap | None, kept: list[Tensor] | None = None):
        self.layer, self.swap, self.kept = layer, swap, kept

    def __call__(self, kind: str, x: Tensor) -> Tensor:
        if kind != "mlp_out":
            return x
        if self.kept is not None:
            self.kept.append(x)
        return self.swap.mlp(self.layer, x) if self.swap else x


def shared_past(model: Decoder, behavior: Behavior) -> Past | None:
    """The keys and values of the tokens that every prompt begins with, run once for all."""
    return model.prefill(behavior.clean.tokens[:1, : behavior.shared]) if behavior.shared else None


def from_run(engine: Engine, source: Engine, trace: Trace) -> Reference:
    """Each token takes the value of the token in its slot in another run of the same prompts (resample ablation)."""
    index = align(engine.prompts, source.prompts, len(engine.behavior.slots))

    def pick(x: Tensor) -> Tensor:
        i = index.clamp(min=0).reshape(*index.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        return x.gather(1, i)

    width = min(engine.prompts.tokens.shape[1], source.prompts.tokens.shape[1])
    same = (engine.prompts.tokens[:, :width] == source.prompts.tokens[:, :width]) & (
        engine.prompts.slots[:, :width] == source.prompts.slots[:, :width]
    )
    differs = (~same).any(0).nonzero()
    first = int(differs.min()) if len(differs) else width
    return _reference(trace, pick, (index >= 0) | ~engine.prompts.mask, first)


def slot_means(engine: Engine, source: Engine, trace: Trace) -> Reference:
    """Each token takes the mean over `source`'s prompts of the tokens in its slot (mean ablation by position)."""
    n = len(engine.behavior.slots)
    flat = source.prompts.slots.flatten()
    real = flat >= 0
    count = torch.bincount(flat[real], minlength=n)

    def mean(x: Tensor) -> Tensor:
        total = x.new_zeros(n, *x.shape[2:]).index_add_(0, flat[real], x.flatten(0, 1)[real])
        return (total / count.clamp(min=1).reshape(-1, *[1] * (x.ndim - 2)))[engine.prompts.slots.clamp(min=0)]

    has = (count > 0)[engine.prompts.slots.clamp(min=0)] | ~engine.prompts.mask
    return _reference(trace, mean, has)


def zeros(engine: Engine, trace: Trace) -> Reference:
    """Every value is zero (zero ablation)."""
    return _reference(trace, torch.zeros_like, torch.ones_like(engine.prompts.mask))


def _reference(trace: Trace, value: Callable[[Tensor], Tensor], where: Tensor, first: int = 0) -> Reference:
    """A reference whose values are made from a trace, tensor by tensor."""
    z, mlp_out, resid_pre = (tuple(map(value, part)) for part in (trace.z, trace.mlp_out, trace.resid_pre))
    return Reference(z, mlp_out, resid_pre, where, first)


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
