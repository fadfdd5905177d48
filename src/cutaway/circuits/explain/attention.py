"""Attention from each answer step to each role, and to the previous token."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float16
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.decoder import Decoder, Patch, Site

N_PATTERNS = 20
"""Prompts whose whole patterns are kept: enough to look at, where means over all of them are there as well."""

MAX_BYTES = 64 * 2**20
"""Of the patterns kept, so that a run folder of a large model or of long prompts can still be opened and sent."""


@dataclass(frozen=True)
class Attention:
    """Attention of every head, over prompts.

    `to_role[l, h, step, role]` is the attention that the token predicting an answer step pays to all tokens of a role
    (mean and sd over prompts); `previous` is what a token pays to the one before it, over all tokens after the shared
    ones; `nearby` the same to any of the three before it; `first` to the first token of the prompt. `kept` are the whole
    patterns of the first prompts, zero on padding.
    """

    roles: tuple[str, ...]
    to_role: Float[Tensor, "layer head step role"]
    sd: Float[Tensor, "layer head step role"]
    previous: Float[Tensor, "layer head"]
    nearby: Float[Tensor, "layer head"]
    first: Float[Tensor, "layer head"]
    kept: Float16[Tensor, "prompt layer head query key"]

    def of(self, site: Site, step: int) -> dict[str, float]:
        """Role → mean attention of one head at one step."""
        return dict(zip(self.roles, self.to_role[site.layer, site.head, step].tolist(), strict=True))


def patterns(
    model: Decoder, prompts: Prompts, *, positions: Tensor | None = None, patches: tuple[Patch, ...] = ()
) -> Float[Tensor, "layer batch head query key"]:
    """The attention of every layer on whole prompts, in float32."""
    sites = [Site(layer, "pattern") for layer in range(model.config.n_layers)]
    with torch.inference_mode():
        run = model.run(
            prompts.tokens,
            positions=positions,
            patches=patches,
            capture=sites,
            scored=prompts.steps,
            columns=prompts.tokens[0, :1],
        )
    return torch.stack([run.sites[site].to(model.device, torch.float32) for site in sites])


def attention(model: Decoder, behavior: Behavior) -> Attention:
    """Measures the attention of every head on the clean prompts."""
    pattern = patterns(model, behavior.clean)
    per_prompt = to_roles(pattern, behavior)
    start = max(behavior.shared, 1)
    real = behavior.clean.mask[:, start:].float()  # queries that count
    weights = real / real.sum()

    def mean(x: Float[Tensor, "layer batch head query"]) -> Float[Tensor, "layer head"]:
        return torch.einsum("lbhq,bq->lh", x[..., start:], weights).cpu()

    previous = torch.zeros_like(pattern[..., 0])
    nearby = torch.zeros_like(previous)
    for back in (1, 2, 3):
        step = pattern.diagonal(-back, dim1=-2, dim2=-1)
        previous[..., back:] += step if back == 1 else 0
        nearby[..., back:] += step
    return Attention(
        behavior.roles,
        per_prompt.mean(1).cpu(),
        per_prompt.std(1, correction=0).cpu(),
        mean(previous),
        mean(nearby),
        mean(pattern[..., 0]),
        kept(pattern, behavior.clean),
    )


def kept(
    pattern: Float[Tensor, "layer batch head query key"], prompts: Prompts
) -> Float16[Tensor, "prompt layer head width width"]:
    """The patterns of the first prompts: `N_PATTERNS` of them, or as many as `MAX_BYTES` hold; as wide as the longest."""
    layers, batch, heads = pattern.shape[:3]
    widths = prompts.mask.sum(1).tolist()
    sizes = [2 * layers * heads * n * max(widths[:n]) ** 2 for n in range(1, min(N_PATTERNS, batch) + 1)]
    n = sum(size <= MAX_BYTES for size in sizes)
    width = max(widths[:n], default=0)
    # the keys of a real query are real: padding stands behind it
    real = prompts.mask[:n, None, None, :width, None]
    return pattern[:, :n, :, :width, :width].transpose(0, 1).where(real, 0).to("cpu", torch.float16)


def to_roles(
    pattern: Float[Tensor, "layer batch head query key"], behavior: Behavior
) -> Float[Tensor, "layer batch head step role"]:
    """Attention of the scored tokens, summed over the tokens of each role, prompt by prompt."""
    prompts = behavior.clean
    index = prompts.steps[None, :, None, :, None].expand(len(pattern), -1, pattern.shape[2], -1, pattern.shape[-1])
    rows = pattern.gather(3, index)
    masks = torch.stack([behavior.slot_mask(prompts, role) for role in behavior.roles]).to(rows)  # [role, batch, key]
    return torch.einsum("lbhsk,rbk->lbhsr", rows, masks)
