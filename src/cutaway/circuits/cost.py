"""What a grid costs, counted before it is run: cells, tokens, and the fewest multiplications that give its exact effects.

Counted are the products with the model's weights, two operations for each multiplication, as `torch.utils.flop_counter`
counts them; attention between tokens and what is done element by element are not. The fewest are those of this engine's
own rules: a cell needs, above the layer where it differs, every position from the first that differs; in that layer the
positions that differ; in the last layer the scored positions, for all but keys and values.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.engine import Engine, shared_past
from cutaway.circuits.inputs import as_variant, reference_of
from cutaway.circuits.metrics import scorer
from cutaway.circuits.plan import Block, Plan
from cutaway.circuits.variant import REPLACEABLE, head_sites
from cutaway.decoder import Decoder, Site
from cutaway.decoder.config import DecoderConfig


@dataclass(frozen=True)
class Cost:
    """Of one grid, over all runs of a corruption."""

    cells: int
    """Sites × roles × prompts × runs."""
    run: int
    """Cells that differ from the base run, and so are run."""
    flops: float
    """Operations of the cells that are run, and of the runs they start from."""
    naive: float
    """Operations of a whole forward pass for each cell, with the logits of every token."""


def cost(
    model: Decoder,
    behavior: Behavior,
    corruption: str,
    *,
    sites: Sequence[Site] | None = None,
    roles: Sequence[str | None] = (None,),
) -> Cost:
    """What `patching.sweep` of outputs (`z`, `mlp_out`, `resid_pre`, `attn_out`) in the noising direction costs at least."""
    c, past, score = model.config, shared_past(model, behavior), scorer(behavior)
    sites = head_sites(model) if sites is None else sites
    variants = [as_variant(site, role, c)[1] for role in roles for site in sites]
    runs = behavior.corruptions[corruption].runs
    # what cells start from is run once for all runs, up to the last token that any of them scores
    starts: dict[int, int] = {}
    cells, flops, naive = 0, 0.0, 0.0
    with torch.inference_mode():
        for steps, corrupt in runs:
            make = partial(Engine, model, behavior, columns=score.columns, steps=steps, past=past)
            engine, other = make(behavior.clean), make(corrupt)
            for prompts, trimmed in ((behavior.clean, engine.prompts), (corrupt, other.prompts)):
                tokens = int((trimmed.steps[:, -1] + 1).sum())
                starts[id(prompts)] = max(tokens, starts.get(id(prompts), 0))
            trace = engine.trace()
            reference = reference_of(("output", None), engine, trace, other, other.trace(keep=REPLACEABLE))
            plan = Plan(model, behavior, engine.prompts, variants, reference, trace)
            for block in plan.blocks(engine.budget):
                cells += len(block)
                flops += fewest(c, block, len(score.columns))
            naive += len(variants) * whole_pass(c, int(behavior.clean.mask.sum()), c.vocab)
    flops += sum(whole_pass(c, tokens, 0) for tokens in starts.values())
    return Cost(len(variants) * len(behavior) * len(runs), cells, flops, naive)


def fewest(c: DecoderConfig, block: Block, columns: int) -> float:
    """Operations that the cells of a block need."""
    span, width = block.stop - block.start, block.width - block.start
    scored = [position for position in block.scored if position >= block.start]
    inside_span = sum(position < block.stop for position in scored)
    total = float(len(block) * _unembed(c, len(scored), columns))
    for (entry, mlp_only), cells in Counter(_entries(block)).items():
        layer, joins = divmod(entry, 2)
        if joins and not mlp_only:
            here = inside_span if layer + 1 == c.n_layers else span
            total += cells * (2 * c.d_head * c.d_model * here + _mlp(c, here))
        for above in range(layer + joins, c.n_layers):
            out = len(scored) if above + 1 == c.n_layers else width
            changed = span if above == layer + joins else width
            asks = min(out, changed)
            total += cells * (_queries(c, asks) + _keys_values(c, changed) + _write(c, out) + _mlp(c, out))
    return total


def whole_pass(c: DecoderConfig, tokens: int, columns: int) -> float:
    """A forward pass of so many tokens, with logits of `columns` for each."""
    layer = _queries(c, tokens) + _keys_values(c, tokens) + _write(c, tokens) + _mlp(c, tokens)
    return float(c.n_layers * layer + _unembed(c, tokens, columns))


def _entries(block: Block) -> Iterable[tuple[int, bool]]:
    """Where each cell enters, and whether it is an MLP alone that is replaced there."""
    for entry, heads in zip(block.entry, block.replaced.z.any(-1).unbind(0), strict=True):
        yield entry, bool(entry % 2) and not bool(heads[entry // 2])


def _queries(c: DecoderConfig, tokens: int) -> int:
    return 2 * c.d_model * c.n_heads * c.d_head * tokens


def _keys_values(c: DecoderConfig, tokens: int) -> int:
    return 4 * c.d_model * c.n_kv_heads * c.d_head * tokens


def _write(c: DecoderConfig, tokens: int) -> int:
    return 2 * c.d_model * c.n_heads * c.d_head * tokens


def _mlp(c: DecoderConfig, tokens: int) -> int:
    return (6 if c.gated else 4) * c.d_model * c.d_mlp * tokens


def _unembed(c: DecoderConfig, tokens: int, columns: int) -> int:
    return 2 * c.d_model * columns * tokens
