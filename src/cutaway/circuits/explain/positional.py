"""How does a head know which word is next? Three interventions of García-Carrasco et al. (2024, §5.3).

For a pair of words a, b, at the first tokens Ca and Cb:

positions   exchange the position ids of the two tokens: the learned embedding, or the angle of the rotation
first       exchange what the two tokens attend to the very first token of the prompt (column 0 of their rows of the
            attention pattern, as in the paper: the rows are not renormalised), in every head that reacts to it
both        the two together

A row that no longer sums to 1 would scale the constant part of the values (what biases add to the value of every token)
by its sum. The paper's model has that part folded into the output bias, where attention does not reach it; so it is left
alone here too, and the result does not depend on where a checkpoint keeps its biases.

What is measured: the logit difference of every answer token, and where the movers then look.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.effects import Convention, EffectMap
from cutaway.circuits.engine import TOKEN_BUDGET, Engine, shared_past
from cutaway.circuits.explain.attention import to_roles
from cutaway.circuits.metrics import scorer
from cutaway.circuits.resume import fingerprint
from cutaway.circuits.variant import Reference, Trace, Variant, head_sites
from cutaway.core.journal import name_of
from cutaway.core.work import Groups, Work
from cutaway.decoder import Decoder, Patch, Site
from cutaway.decoder.model import Layer

REACTS = -0.005
"""A head is taken into the joint swap if swapping it alone lowers some answer's logit difference by more than this (the
paper's threshold)."""

CONDITIONS = ("clean", "positions", "first", "both")


@dataclass(frozen=True)
class Swap:
    """One pair of words exchanged in one way."""

    pair: tuple[str, str]
    condition: str
    logit_diff: Float[Tensor, " step"]
    attention: Float[Tensor, "mover step source"]
    """Attention of each mover, at each step, to each source role; the mean over prompts."""
    attention_sd: Float[Tensor, "mover step source"]
    heads: tuple[Site, ...] = ()
    """Heads whose attention to the first token was exchanged."""


@dataclass(frozen=True)
class Positional:
    """All pairs and conditions, and the effect of the first-token swap head by head for the pairs in `per_head`."""

    movers: tuple[Site, ...]
    swaps: tuple[Swap, ...]
    per_head: dict[tuple[str, str], EffectMap]

    def to_dict(self) -> dict:
        return {
            "movers": [str(site) for site in self.movers],
            "swaps": [
                {
                    "pair": "↔".join(swap.pair),
                    "condition": swap.condition,
                    "logit_diff": swap.logit_diff.tolist(),
                    "attention": swap.attention.tolist(),
                    "heads": [str(site) for site in swap.heads],
                }
                for swap in self.swaps
            ],
            "per_head": {"↔".join(pair): effects.to_dict() for pair, effects in self.per_head.items()},
        }


def positional(
    model: Decoder,
    behavior: Behavior,
    movers: Sequence[Site],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    budget: int = TOKEN_BUDGET,
    work: Work | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Positional:
    """Runs the three interventions on every pair of source roles."""
    sources = behavior.sources
    pairs = [(a, b) for i, a in enumerate(sources) for b in sources[i + 1 :]] if pairs is None else list(pairs)
    swaps, per_head = [], {}
    for pair in pairs:
        effects = first_token_effects(model, behavior, pair, budget=budget, work=work, tick=tick)
        per_head[pair] = effects
        reacting = tuple(
            site for site, value in zip(effects.sites, effects.mean()[:, 0], strict=True) if (value < REACTS).any()
        )
        swaps += [_swap(model, behavior, movers, pair, condition, reacting) for condition in CONDITIONS]
    return Positional(tuple(movers), tuple(swaps), per_head)


def places(behavior: Behavior, role: str) -> Int[Tensor, " batch"]:
    """Position of a role's first token in each clean prompt."""
    return behavior.slot_mask(behavior.clean, role).float().argmax(-1)


def exchanged_positions(behavior: Behavior, pair: tuple[str, str]) -> Int[Tensor, "batch pos"]:
    """Position ids of the clean prompts with those of two roles' first tokens exchanged."""
    batch, width = behavior.clean.tokens.shape
    ids = torch.arange(width, device=behavior.clean.tokens.device).repeat(batch, 1)
    rows = torch.arange(batch, device=ids.device)
    a, b = (places(behavior, role) for role in pair)
    ids[rows, a], ids[rows, b] = ids[rows, b].clone(), ids[rows, a].clone()
    return ids


def exchange_first(
    pattern: Float[Tensor, "batch *heads query key"], a: Int[Tensor, " batch"], b: Int[Tensor, " batch"]
) -> Float[Tensor, "batch *heads query key"]:
    """Exchanges column 0 of the rows of query a and query b."""
    rows, a, b = (x.to(pattern.device) for x in (torch.arange(len(pattern)), a, b))
    out = pattern.movedim(-2, 1).clone()  # [batch, query, *heads, key]
    out[rows, a, ..., 0], out[rows, b, ..., 0] = out[rows, b, ..., 0].clone(), out[rows, a, ..., 0].clone()
    return out.movedim(1, -2)


def first_token_effects(
    model: Decoder,
    behavior: Behavior,
    pair: tuple[str, str],
    *,
    budget: int = TOKEN_BUDGET,
    work: Work | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> EffectMap:
    """Effect on the logit differences of exchanging, in one head at a time, the attention two tokens pay to the first one."""
    score = scorer(behavior)
    sites = tuple(head_sites(model))

    def exchanged(mine: list[int]) -> Groups:
        past = shared_past(model, behavior)
        engine = Engine(model, behavior, behavior.clean, columns=score.columns, past=past, budget=budget)
        trace = engine.trace()
        reference = _exchanged_z(engine, trace, pair)
        before = score.logit_diff(trace.logits)
        groups = engine.run([Variant(frozenset([sites[i]])) for i in mine], reference, trace)
        return ((group, score.logit_diff(logits) - before) for group, logits in groups)

    prompts = fingerprint(behavior)
    names = [name_of("first token", model.source, prompts, *pair, str(site)) for site in sites]
    with torch.inference_mode():
        values = (work or Work()).measure(names, (len(behavior), behavior.n_steps), exchanged, tick)
    values = values[:, None].clone()
    about = f"attention to the first token exchanged, {pair[0]}↔{pair[1]}"
    seed = int(behavior.recipe.get("seed", 0))
    how = Convention(
        "exact", "noising", about, "logit_diff", "patched − clean: negative helps", model.source, len(behavior), seed
    )
    return EffectMap(sites, (None,), behavior.step_names, values, how)


def _exchanged_z(engine: Engine, trace: Trace, pair: tuple[str, str]) -> Reference:
    """What every head would compute at the two tokens with their attention to the first token exchanged."""
    a, b = (places(engine.behavior, role) - engine.offset for role in pair)
    zs = []
    for layer in engine.model.layers:
        q, k, _ = layer.qkv(trace.resid_pre[layer.index])
        pattern = layer.pattern(*layer.rotated(q, k, engine.frame), engine.frame, engine.past)
        exchanged = exchange_first(pattern, a, b)
        z = layer.mix(exchanged, trace.v[layer.index], engine.past)
        excess = exchanged.sum(-1).transpose(1, 2) - 1  # [batch, pos, head]
        zs.append(z - excess[..., None] * constant_z(layer))
    where = torch.zeros_like(engine.prompts.mask)
    rows = torch.arange(len(where), device=where.device)
    where[rows, a] = where[rows, b] = True
    return Reference(tuple(zs), trace.mlp_out, trace.resid_pre, where, int(torch.minimum(a, b).min()))


def constant_z(layer: Layer) -> Float[Tensor, "head d_head"]:
    """What biases (of the norm and of the values) add to z in every head, whatever the head attends to."""
    bias = layer.norm1.bias
    nothing = layer.v.weight.new_zeros(layer.v.in_features)
    v = layer.v(nothing if bias is None else bias).unflatten(-1, (-1, layer.config.d_head))
    return v.repeat_interleave(layer.config.n_heads // layer.config.n_kv_heads, dim=0)


def _exchange(model: Decoder, heads: Sequence[Site], a: Tensor, b: Tensor) -> list[Patch]:
    """Patches that exchange the attention of queries a and b to the first token in these heads, constant part aside."""
    patches = [Patch(Site(s.layer, "pattern", s.head), lambda pattern: exchange_first(pattern, a, b)) for s in heads]
    for index in sorted({site.layer for site in heads}):
        z = constant_z(model.layers[index])
        v = z[:: model.config.n_heads // model.config.n_kv_heads]
        patches.append(Patch(Site(index, "v"), partial(torch.sub, other=v)))
        patches.append(Patch(Site(index, "z"), partial(torch.add, other=z)))
    return patches


def _swap(
    model: Decoder,
    behavior: Behavior,
    movers: Sequence[Site],
    pair: tuple[str, str],
    condition: str,
    reacting: tuple[Site, ...],
) -> Swap:
    a, b = (places(behavior, role) for role in pair)
    heads = reacting if condition in ("first", "both") else ()
    positions = exchanged_positions(behavior, pair) if condition in ("positions", "both") else None
    layers = sorted({site.layer for site in movers})
    score = scorer(behavior)
    with torch.inference_mode():
        run = model.run(
            behavior.clean.tokens,
            positions=positions,
            patches=_exchange(model, heads, a, b),
            capture=[Site(layer, "pattern") for layer in layers],
            scored=behavior.clean.steps,
            columns=score.columns,
        )
    sources = [behavior.roles.index(role) for role in behavior.sources]
    looks = torch.zeros(len(behavior), len(movers), behavior.n_steps, len(sources))
    if layers:
        seen = torch.stack([run.sites[Site(layer, "pattern")].to(model.device) for layer in layers])
        per_layer = to_roles(seen, behavior).cpu()
        for i, site in enumerate(movers):
            looks[:, i] = per_layer[layers.index(site.layer), :, site.head][..., sources]
    logit_diff = score.logit_diff(run.logits).mean(0).float().cpu()
    return Swap(pair, condition, logit_diff, looks.mean(0), looks.std(0, correction=0), heads)
