"""Edge attribution patching: an estimate of every path patch at once, from gradients.

    effect(sender → receiver) ≈ Σ over tokens of (what the sender would write − what it writes) · ∂metric/∂(the receiver's input)

Syed, Rager & Conmy 2023 (arXiv 2310.10348), eq. 2. The receiver's input is the residual stream as this receiver alone
reads it, so the gradients of all receivers above a sender add up to the gradient of the stream there: the edges out of a
sender sum to its attribution as a node. What all senders below a receiver would write adds up to what its stream would
change by, so the edges into it sum to the attribution of its whole input. (With a second norm on what attention writes, a
head's part in it is taken to first order, and only the former sum is exact.)

With `points` > 1 the gradients are averaged over runs whose embeddings lie between the two prompts (EAP-IG: Hanna, Pezzelle
& Belinkov 2024, arXiv 2403.17806, §3): the edges out of the embedding then sum to the change of the metric from one prompt to
the other, up to a gap that shrinks with the points. Points are the middles of equal parts, where the paper takes their ends:
the same limit, reached sooner.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.effects import Convention, EdgeMap
from cutaway.circuits.engine import TOKEN_BUDGET
from cutaway.circuits.gradients import EMBEDDING, Contrast, Gradients, contrasts
from cutaway.circuits.graph import CHANNELS, EMBED, LOGITS, Edge, Receiver, Sender, edges, receivers, senders
from cutaway.circuits.patching import SIGNS
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Patch, Site
from cutaway.decoder.model import Layer

WRITES = 16
"""Writes of all senders are held at once: for so many budgets of tokens."""


def attribute_edges(
    model: Decoder,
    behavior: Behavior,
    corruption: str,
    *,
    points: int = 1,
    direction: Literal["noising", "denoising"] = "noising",
    metric: str = "logit_diff",
    budget: int = TOKEN_BUDGET,
) -> EdgeMap:
    """Estimated effect of every edge of the model on each answer token, `patched − base`.

    Args:
        points: runs between the two prompts whose gradients are averaged; 1 takes the gradient in the base run (EAP).

    Raises:
        CutawayError: no such corruption or direction, a metric without a gradient, or no points.
    """
    if points < 1:
        raise CutawayError(f"{points} points between the prompts: give at least 1")
    every = edges(model.config)
    grid = torch.full(
        (len(senders(model.config)), len(receivers(model.config)), len(behavior), behavior.n_steps), torch.nan
    )
    tokens = (behavior.clean.tokens.shape[1] - behavior.shared) * len(grid)
    rows = max(1, WRITES * budget // tokens)
    for which, contrast in contrasts(model, behavior, corruption, direction=direction, metric=metric, rows=rows):
        found = _contrast(contrast, points)
        grid[:, :, which][..., list(contrast.steps)] = found.movedim(2, -1).float().cpu()
    s = {sender: i for i, sender in enumerate(senders(model.config))}
    r = {receiver: i for i, receiver in enumerate(receivers(model.config))}
    values = grid[[s[edge.sender] for edge in every], [r[edge.receiver] for edge in every]]
    convention = Convention(
        "attribution", direction, corruption, metric, SIGNS[direction], model.source, len(behavior),
        int(behavior.recipe.get("seed", 0)),
    )  # fmt: skip
    return EdgeMap(tuple(every), behavior.step_names, values, convention)


def between(points: int) -> list[float]:
    """Where the gradients are taken on the way from the base (0) to the other prompt (1); the base alone if one."""
    return [0.0] if points == 1 else [(i + 0.5) / points for i in range(points)]


def _contrast(contrast: Contrast, points: int) -> Float[Tensor, "sender receiver step batch"]:
    """Every sender times every receiver; pairs that are no edges have a number as well, which nobody looks at."""
    writes = torch.cat([written for _, written in sender_deltas(contrast)])
    shift, parts = contrast.deltas([EMBEDDING])[EMBEDDING], []
    for share in between(points):
        found = contrast.gradients(stream_sites(contrast.model), shift=share * shift)
        blocks = [torch.einsum("sbpd,rtbpd->srtb", writes, slope) for _, slope in receiver_slopes(contrast, found)]
        parts.append(torch.cat(blocks, 1) / points)
    return torch.stack(parts).sum(0)


def stream_sites(model: Decoder) -> list[Site]:
    """What must be captured to know every receiver's input and its slope."""
    kinds = ("resid_pre", *CHANNELS, "attn_out", "mlp_out")
    layers = range(model.config.n_layers)
    return [*(Site(layer, kind) for layer in layers for kind in kinds), Site(layers[-1], "resid_post")]


# --- what senders would write -----------------------------------------------------------------------------------------


@torch.no_grad()
def sender_deltas(contrast: Contrast) -> Iterator[tuple[list[Sender], Float[Tensor, "sender batch pos d_model"]]]:
    """Layer by layer, what each sender would write instead of what it writes, to first order where a norm follows."""
    model = contrast.model
    kinds = [Site(layer.index, kind) for layer in model.layers for kind in ("z", "mlp_out")]
    pair = contrast.pair([EMBEDDING, *kinds])
    here, there = pair[EMBEDDING]
    yield [EMBED], (there - here)[None]
    for layer in model.layers:
        here, there = pair[Site(layer.index, "z")]
        yield [Site(layer.index, "z", head) for head in range(here.shape[2])], _head_writes(layer, here, there - here)
        here, there = pair[Site(layer.index, "mlp_out")]
        yield [Site(layer.index, "mlp_out")], (there - here)[None]


def _head_writes(layer: Layer, z: Tensor, delta: Tensor) -> Float[Tensor, "head batch pos d_model"]:
    weight = layer.o.weight.unflatten(1, z.shape[2:])  # [d_model, head, d_head]
    written = torch.einsum("bphe,dhe->hbpd", delta, weight)
    if not layer.config.post_norms:
        return written
    at = layer.write(z).expand_as(written).contiguous()
    return torch.func.jvp(layer.post1, (at,), (written.contiguous(),))[1]


# --- slopes of what receivers read ------------------------------------------------------------------------------------


def receiver_slopes(
    contrast: Contrast, found: Gradients
) -> Iterator[tuple[list[Receiver], Float[Tensor, "receiver step batch pos d_model"]]]:
    """Layer by layer, ∂(metric of each step)/∂(the stream as one receiver alone reads it)."""
    model = contrast.model
    for layer in model.layers:
        resid_pre, attn_out = (found.values[Site(layer.index, kind)] for kind in ("resid_pre", "attn_out"))
        for channel in CHANNELS:
            slope = found.slopes[Site(layer.index, channel)].movedim(-2, 0)  # [head, step, batch, pos, d_head]
            named: list[Receiver] = [Site(layer.index, channel, head) for head in range(len(slope))]
            yield named, _back(lambda x, layer=layer, channel=channel: read(layer, channel, x), resid_pre, slope)
        slope = found.slopes[Site(layer.index, "mlp_out")][None]
        stream = resid_pre if layer.config.parallel else resid_pre + attn_out
        yield [Site(layer.index, "mlp_out")], _back(layer.mlp, stream, slope)
    yield [LOGITS], found.slopes[Site(len(model.layers) - 1, "resid_post")][None]


def read(
    layer: Layer, channel: str, streams: Float[Tensor, "head *axes d_model"]
) -> Float[Tensor, "head *axes d_head"]:
    """What each head makes of a stream of its own: queries, keys or values, not yet rotated."""
    part = getattr(layer, channel)
    x = layer.norm1(streams)
    weight = part.weight.unflatten(0, (len(streams), -1))  # [head, d_head, d_model]
    out = torch.einsum("h...d,hed->h...e", x, weight)
    if part.bias is not None:
        out = out + part.bias.reshape(len(streams), *[1] * (out.ndim - 2), -1)
    if layer.config.qk_norm and channel != "v":
        out = (layer.q_norm if channel == "q" else layer.k_norm)(out)
    return out


def _back(function, stream: Float[Tensor, "batch pos d_model"], slope: Tensor) -> Tensor:
    """`slope` of what the function gives, carried back to what it is given: one stream for each receiver and step."""
    with torch.enable_grad():
        given = stream.expand(*slope.shape[:2], *stream.shape).contiguous().requires_grad_()
        return torch.autograd.grad(function(given), given, slope)[0]


def completeness_gap(model: Decoder, found: EdgeMap, behavior: Behavior) -> Float[Tensor, "batch step"]:
    """Σ of the edges out of the embedding − the real change of the metric when all embeddings change; 0 is complete.

    Args:
        found: of `attribute_edges`, on the same prompts.
    """
    c = found.convention
    out = [i for i, edge in enumerate(found.edges) if edge.sender == EMBED]
    gap = found.values[out].sum(0)
    for which, contrast in contrasts(model, behavior, c.corruption, direction=c.direction, metric=c.metric):
        gap[which][:, list(contrast.steps)] -= change(contrast).float().cpu()
    return gap


@torch.no_grad()
def change(contrast: Contrast) -> Float[Tensor, "batch step"]:
    """Metric with the other prompt's embeddings − metric of the base run."""
    there = contrast.pair([EMBEDDING])[EMBEDDING][1]
    runs = [contrast.run(contrast.base, patches=patches) for patches in ([Patch(EMBEDDING, there)], [])]
    after, before = (contrast.score.measure(contrast.metric, run.logits) for run in runs)
    return after - before


def signed_edges(maps: Sequence[EdgeMap]) -> dict[Edge, float]:
    """Every edge's mean effect, summed over answer tokens and corruptions."""
    total = torch.stack([found.signed() for found in maps]).sum(0)
    return dict(zip(maps[0].edges, total.tolist(), strict=True))
