"""What heads write straight into the logits, and what they would copy from a word if they looked at nothing else."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.engine import Engine, shared_past
from cutaway.circuits.metrics import Scorer, scorer
from cutaway.circuits.variant import Trace
from cutaway.decoder import Decoder


@dataclass(frozen=True)
class Direct:
    """Direct effects of every head, mean over prompts.

    `logit_diff[l, h, step]`: what the head adds to the logit of the answer over that of its strongest rival, through the
    final norm (its scale kept as in the run) and the unembedding alone; units are logits.
    `copy[l, h, step]`: the same if the head attended only to the token that holds the answer (the behaviour's source role of
    that step), over the mean of the alternatives; `copy_top` is the share of prompts where the right answer then comes out
    on top. NaN where the behaviour names no sources.
    """

    logit_diff: Float[Tensor, "layer head step"]
    copy: Float[Tensor, "layer head step"]
    copy_top: Float[Tensor, "layer head step"]


def direct(model: Decoder, behavior: Behavior) -> Direct:
    """Direct logit attribution and copying of every head on the clean prompts."""
    score = scorer(behavior)
    with torch.inference_mode():
        engine = Engine(model, behavior, behavior.clean, columns=score.columns, past=shared_past(model, behavior))
        trace = engine.trace()
        final = _final_stream(model, trace)
        steps = engine.prompts.steps
        attributed, copied, top = [], [], []
        for layer in range(model.config.n_layers):
            z = _at(trace.z[layer], steps)  # [batch, step, head, d_head]
            logits = _through(model, layer, z, trace, steps, final, score)
            right, wrong = _split(logits, score)
            rival = _rival(trace.logits, score)
            attributed.append(
                (right - wrong.gather(-1, rival[:, None].expand(-1, wrong.shape[1], -1, -1)).squeeze(-1)).mean(0)
            )
            gain, first = _copying(model, layer, engine, trace, final, score)
            copied.append(gain)
            top.append(first)
    return Direct(*(torch.stack(x).float().cpu() for x in (attributed, copied, top)))


def _at(x: Tensor, steps: Tensor) -> Tensor:
    """[batch, pos, …] at the scored positions, where these are."""
    return x.to(steps.device).gather(1, steps.reshape(*steps.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:]))


def _final_stream(model: Decoder, trace: Trace) -> Float[Tensor, "batch pos d_model"]:
    last = model.layers[-1]
    return last.finish(trace.resid_pre[-1], last.write(trace.z[-1]))


def _through(
    model: Decoder,
    layer: int,
    z: Float[Tensor, "batch step head d_head"],
    trace: Trace,
    steps: Tensor,
    final: Tensor,
    score: Scorer,
) -> Float[Tensor, "batch head step column"]:
    """Each head's z to logits: W_O, the norms with the scale of the run, the unembedding (no softcap, no bias)."""
    block, c = model.layers[layer], model.config
    W_O = block.o.weight.to(z.device).unflatten(1, (c.n_heads, c.d_head))  # [d_model, head, d_head]
    wrote = torch.einsum("bshd,mhd->bhsm", z, W_O)
    if c.post_norms:
        wrote = _scaled(block.post1, wrote, _at(block.write(trace.z[layer]), steps)[:, None])
    return _scaled(model.final_norm, wrote, _at(final, steps)[:, None]) @ model.W_U[score.columns].T


def _scaled(norm, x: Tensor, stream: Tensor) -> Tensor:
    """The norm as a linear map: its scale taken from `stream`, without its bias."""
    if norm.kind == "none":
        return x
    if norm.kind == "layer":
        x, stream = x - x.mean(-1, keepdim=True), stream - stream.mean(-1, keepdim=True)
    return x * torch.rsqrt(stream.square().mean(-1, keepdim=True) + norm.eps) * (norm.weight.to(x.device) + norm.offset)


def _split(logits: Float[Tensor, "batch head step column"], score: Scorer) -> tuple[Tensor, Tensor]:
    heads = logits.shape[1]
    right = logits.gather(-1, score.answer[:, None, :, None].expand(-1, heads, -1, -1)).squeeze(-1)
    wrong = logits.gather(-1, score.alternatives.clamp(min=0)[:, None].expand(-1, heads, -1, -1))
    return right, wrong.masked_fill((score.alternatives < 0)[:, None], torch.nan)


def _rival(logits: Float[Tensor, "batch step column"], score: Scorer) -> Tensor:
    """Which alternative the whole model likes best: `[batch, step, 1]`."""
    wrong = logits.gather(-1, score.alternatives.clamp(min=0)).masked_fill(score.alternatives < 0, -torch.inf)
    return wrong.argmax(-1, keepdim=True)


def _copying(
    model: Decoder, layer: int, engine: Engine, trace: Trace, final: Tensor, score: Scorer
) -> tuple[Tensor, Tensor]:
    """As if all attention of a step went to its source: mean logit of the answer over the alternatives, how often on top."""
    behavior, c = engine.behavior, model.config
    if not behavior.sources:
        empty = torch.full((c.n_heads, behavior.n_steps), torch.nan)
        return empty, empty
    where = torch.stack(
        [behavior.slot_mask(engine.prompts, role).float().argmax(-1) for role in behavior.sources], dim=1
    )
    v = _at(trace.v[layer], where)  # [batch, step, kv_head, d_head]
    z = v.repeat_interleave(c.n_heads // c.n_kv_heads, dim=2)
    right, wrong = _split(_through(model, layer, z, trace, engine.prompts.steps, final, score), score)
    return (right - wrong.nanmean(-1)).mean(0), (right > wrong.nan_to_num(-torch.inf).amax(-1)).float().mean(0)
