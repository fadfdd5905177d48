"""From a plan to a decoder: every number set by hand or by the seed, none of them trained."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from cutaway.decoder.config import DecoderConfig
from cutaway.decoder.model import Decoder
from cutaway.decoder.planted.decoys import decoy
from cutaway.decoder.planted.record import Circuit, Plan, Planted
from cutaway.decoder.planted.weights import POSITIONS, Head, normal, orthonormal
from cutaway.decoder.sites import Site

MLP = 8
"""Hidden units of the MLPs where a plan has none of its own."""


def build(name: str, circuit: Circuit, rng: random.Random) -> Planted:
    """Draws a plan, fills its free heads with distractors, and writes the weights."""
    plan = circuit.plan(rng)
    everywhere = [Site(layer, "z", head) for layer in range(plan.n_layers) for head in range(plan.n_heads)]
    distractors = {site: decoy(plan, site, rng) for site in everywhere if site not in plan.heads}
    d_mlp = max([MLP, *(up.shape[1] for up, _ in plan.mlps.values())])
    config = DecoderConfig(
        family="planted",
        n_layers=plan.n_layers,
        n_heads=plan.n_heads,
        n_kv_heads=plan.n_heads,
        d_model=plan.stream.d_model,
        d_head=plan.d_head,
        d_mlp=d_mlp,
        n_ctx=POSITIONS,
        vocab=len(plan.tokenizer),
        activation="relu",
        norm="none",
        attn_scale=1.0,
    )
    model = Decoder(config, plan.tokenizer, source=name)
    with torch.no_grad():
        model.embed.weight.copy_(plan.embed)
        model.pos.weight.copy_(plan.positions)
        model.unembed.weight.copy_(plan.unembed)
        for layer in model.layers:
            heads = plan.heads | distractors
            _write_heads(layer, [heads[Site(layer.index, "z", h)] for h in range(plan.n_heads)], rng)
            up, down = plan.mlps.get(layer.index) or _idle_mlp(plan, d_mlp, rng)
            layer.up.weight.copy_(up.T)
            layer.down.weight.copy_(down.T)
    return Planted(
        name,
        circuit.about,
        model.eval().requires_grad_(False),
        {site: head.role for site, head in sorted(plan.heads.items(), key=lambda item: (item[0].layer, item[0].head))},
        {site: head.role for site, head in distractors.items()},
    )


def _write_heads(layer, heads: Sequence[Head], rng: random.Random) -> None:
    """Each head in a random basis of its own, so that no single weight says what it does."""
    d_head = layer.config.d_head
    for h, head in enumerate(heads):
        rows = slice(h * d_head, (h + 1) * d_head)
        meet = orthonormal(rng, head.query.shape[1], d_head)
        carry = orthonormal(rng, head.value.shape[1], d_head)
        layer.q.weight[rows] = (head.query @ meet).T.float()
        layer.k.weight[rows] = (head.key @ meet).T.float()
        layer.v.weight[rows] = (head.value @ carry).T.float()
        layer.o.weight[:, rows] = (carry.T @ head.out).T.float()


def _idle_mlp(plan: Plan, width: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """An MLP that reads everything and writes where nobody reads."""
    d_model, junk = plan.stream.d_model, plan.stream["junk"]
    up = normal(rng, width, d_model).T / d_model**0.5
    return up, (junk @ normal(rng, junk.shape[1], width)).T / width**0.5


def place_heads(rng: random.Random, n_layers: int, n_heads: int, stages: Sequence[int]) -> list[list[Site]]:
    """Random heads for each stage of a computation, every stage in later layers than the one before.

    All stages but the last lie in one layer each; the last spreads over the layers that are left.
    """
    *early, last = stages
    layers = sorted(rng.sample(range(n_layers - 1), len(early)))
    placed = [
        [Site(layer, "z", head) for head in rng.sample(range(n_heads), count)]
        for layer, count in zip(layers, early, strict=True)
    ]
    after = layers[-1] + 1 if layers else 0
    room = [Site(layer, "z", head) for layer in range(after, n_layers) for head in range(n_heads)]
    return [*placed, rng.sample(room, last)]
