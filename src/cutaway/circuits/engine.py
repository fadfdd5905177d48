"""Exact patching without the wasted work.

A *variant* of a forward pass replaces the output of some sites by reference values, everywhere or at the tokens of one
role. Patching a head, ablating all heads but a circuit, dropping one head of it: all of these are variants, and all of
them run through here. A *cell* is one variant on one prompt. No work is done whose result is known beforehand:

1. tokens that all prompts share in front (a worked example) are run once and kept as keys and values;
2. a cell whose replacement equals what it replaces is not run, nor one that cannot reach a scored token;
3. the base run is kept, and a cell resumes at the first layer where it differs from it …
4. … from the first position where it differs; there, and for queries and keys in the layer above, only the positions that
   differ are run;
5. positions after the last scored one are dropped, and nothing is padded: cells that stand alike go together;
6. in the last layer only scored positions ask, and only scored columns are unembedded;
7. cells are stacked, as many as the budget allows: one pass goes up through the layers, and each cell joins it where it
   begins, so that the matrix products stay large;
8. heads that are replaced everywhere are not computed, and of a single replaced head only that head's write is.

`plan.py` decides 2 to 5, `climb.py` is the pass of 4 to 8. Tests hold every shortcut to the naive loop (one full pass with
`Patch`es for every variant) at 1e-4.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.circuits.climb import Climb
from cutaway.circuits.plan import Plan
from cutaway.circuits.variant import Reference, Trace, Variant
from cutaway.decoder import Decoder, Past
from cutaway.decoder.model import Frame

TOKEN_BUDGET = 2048
"""Tokens in flight at once: enough for full-speed matrix products, small enough for caches and memory."""

RESUME = ("resid_pre", "q", "k", "v", "z", "written", "mlp_out")
"""What a run leaves for cells to resume from."""

PORTION = 16
"""Variants are handed over in portions of so many budgets: large enough to stack well, small enough to be kept often."""


class Engine:
    """Runs variants of one batch of prompts.

    Args:
        steps: which answer steps to score; later tokens are dropped.
        columns: token ids whose logits are wanted.
        past: the shared leading tokens, run by `shared_past`.
        budget: tokens in flight at once.
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
        self.frame = self.frame_of(0, self.prompts.tokens.shape[1])

    def trace(
        self,
        variant: Variant | None = None,
        reference: Reference | None = None,
        keep: Sequence[str] = RESUME,
        like: tuple[Variant, Trace] | None = None,
    ) -> Trace:
        """Runs the prompts with one variant's replacements, and keeps what others resume from.

        Args:
            keep: what to keep; `REPLACEABLE` is only what can replace.
            like: another variant with the same role and reference, and its trace: what lies below the first layer where
                the two differ is taken from there.
        """
        model, kept, low = self.model, {name: [] for name in RESUME}, 0
        replace = partial(self._replace, variant, reference)
        if like and variant:
            low = min((site.layer for site in variant.replaced ^ like[0].replaced), default=0)
            kept = {name: list(getattr(like[1], name)[:low]) for name in RESUME}
        resid = like[1].resid_pre[low] if low and like else model.start(self.prompts.tokens, past=self.past)[1]
        for layer in model.layers[low:]:
            resid = layer.here(resid)
            kept["resid_pre"].append(resid)
            resid = replace("resid_pre", layer.index, resid)
            q, k, v = layer.qkv(resid)
            q, k = layer.rotated(q, k, self.frame)
            z = layer.attend(q, *self.behind(layer.index, k, v), self.frame)
            written = layer.write(replace("z", layer.index, z))
            for name, value in {"q": q, "k": k, "v": v, "z": z, "written": written}.items():
                kept[name] += [value] if name in keep else []
            resid = layer.finish(resid, written, partial(self._on_mlp, replace, layer.index, kept["mlp_out"]))
        logits = model.logits(resid, self.prompts.steps, self.columns)
        return Trace(**{name: tuple(values) for name, values in kept.items() if name in keep}, logits=logits)

    def run(
        self, variants: Sequence[Variant], reference: Reference, base: Trace, background: Variant | None = None
    ) -> Iterator[tuple[list[int], Float[Tensor, "variant batch step column"]]]:
        """Logits of each variant, some at a time, as they are ready: (indices into `variants`, logits).

        `base` is the trace of `background` (of the untouched run, if None).
        """
        alike = sorted(range(len(variants)), key=lambda i: (str(variants[i].role), _bottom(variants[i])))
        room = max(1, PORTION * self.budget // self.prompts.tokens.numel())
        for some in (alike[i : i + room] for i in range(0, len(alike), room)):
            picked = [variants[i] for i in some]
            out = base.logits.repeat(len(some), 1, 1, 1)
            plan = Plan(self.model, self.behavior, self.prompts, picked, reference, base, background)
            for block in plan.blocks(self.budget):
                out[block.variant, block.row] = Climb(self, block, reference, base).logits()
            yield some, out

    def logits(
        self, variants: Sequence[Variant], reference: Reference, base: Trace, background: Variant | None = None
    ) -> Float[Tensor, "variant batch step column"]:
        """Logits of all variants together, in their order."""
        out = base.logits.new_empty(len(variants), *base.logits.shape)
        for some, logits in self.run(variants, reference, base, background):
            out[some] = logits
        return out

    def frame_of(self, start: int, stop: int) -> Frame:
        """For the tokens from `start` to before `stop`, whose keys are the past, the tokens before, and themselves. All
        rows are alike, because padding stands to the right of all that is scored."""
        positions = torch.arange(self.offset + start, self.offset + stop, device=self.columns.device)
        return self.model.frame(positions[None], before=self.offset + start)

    def behind(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the shared past, if any, and then these."""
        return (self.past.before(layer, k), self.past.before_values(layer, v)) if self.past else (k, v)

    def _replace(
        self, variant: Variant | None, reference: Reference | None, kind: str, layer: int, x: Tensor
    ) -> Float[Tensor, "batch pos *axes"]:
        """One site with a variant's replacements, for all prompts."""
        if variant is None or reference is None:
            return x
        sites = [site for site in variant.replaced if (site.kind, site.layer) == (kind, layer)]
        if not sites:
            return x
        where, values = reference.where, getattr(reference, kind)[layer].unflatten(0, (-1, len(x)))[variant.source]
        if variant.role is not None:
            where = where & self.behavior.slot_mask(self.prompts, variant.role)
        where = where.to(x.device)
        if kind != "z":
            return torch.where(where[..., None], values, x)
        heads = torch.zeros(x.shape[2], dtype=torch.bool, device=x.device)
        for site in sites:
            heads[slice(None) if site.head is None else site.head] = True
        return torch.where((where[..., None] & heads)[..., None], values, x)

    def _on_mlp(self, replace: Callable, layer: int, kept: list[Tensor], kind: str, x: Tensor) -> Tensor:
        """What `trace` does at the sites of a layer's second half."""
        if kind != "mlp_out":
            return x
        kept.append(x)
        return replace("mlp_out", layer, x)


def shared_past(model: Decoder, behavior: Behavior) -> Past | None:
    """The keys and values of the tokens that every prompt begins with, run once for all."""
    return model.prefill(behavior.clean.tokens[:1, : behavior.shared]) if behavior.shared else None


def _bottom(variant: Variant) -> int:
    return min((site.layer for site in variant.replaced), default=0)
