"""Attribution patching of nodes: the estimate of an exact sweep from one backward pass for each answer token.

    effect(site) ≈ Σ over tokens of (value patched in − value there) · ∂metric/∂value

Nanda 2023, "Attribution Patching: Activation Patching At Industrial Scale"; Syed, Rager & Conmy 2023 (arXiv 2310.10348),
§3. AtP* (Kramár, Lieberum, Shah & Nanda 2024, arXiv 2403.00745) mends two ways in which the estimate comes out near zero
although the effect is not: a saturated softmax (the QK fix), and ways to the output that cancel (GradDrop).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.effects import Convention, EffectMap
from cutaway.circuits.engine import TOKEN_BUDGET
from cutaway.circuits.gradients import Contrast, Gradients, contrasts
from cutaway.circuits.patching import SIGNS
from cutaway.circuits.variant import head_sites
from cutaway.decoder import Decoder, Patch, Site

Shares = dict[Site, Tensor]
"""whole site → what each of its tokens adds to the estimate: `[step, batch, pos]`, heads last if the kind has heads."""


@dataclass(frozen=True)
class Estimate:
    """How an effect is estimated: one or several readings of what each token adds, and what to make of their sums."""

    readings: Callable[[Contrast, Sequence[Site]], Iterator[Shares]]
    combine: Callable[[Tensor], Tensor]
    """From `[reading, step, batch]`, summed over tokens, to `[step, batch]`."""


def attribute(
    model: Decoder,
    behavior: Behavior,
    corruption: str,
    *,
    sites: Sequence[Site] | None = None,
    roles: Sequence[str | None] = (None,),
    direction: Literal["noising", "denoising"] = "noising",
    metric: str = "logit_diff",
    budget: int = TOKEN_BUDGET,
    how: Estimate | None = None,
) -> EffectMap:
    """Estimated effect of patching every site, at each role (None: at all tokens), on each answer token.

    Takes what `patching.sweep` takes and gives what it gives, with the same sign; `convention.kind` is `attribution`.

    Args:
        sites: of any kind but `pattern`; all heads (`z`) if None.
        how: `ATP` if None, or `ATP_STAR`.

    Raises:
        CutawayError: no such corruption, role, direction or site, or a metric without a gradient.
    """
    sites = tuple(site.check(model.config) for site in (head_sites(model) if sites is None else sites))
    how, whole = how or ATP, list(dict.fromkeys(site.without_head() for site in sites))
    values = torch.full((len(sites), len(roles), len(behavior), behavior.n_steps), torch.nan)
    rows = max(1, budget // (behavior.clean.tokens.shape[1] - behavior.shared))
    for which, contrast in contrasts(model, behavior, corruption, direction=direction, metric=metric, rows=rows):
        readings = list(how.readings(contrast, whole))
        for r, role in enumerate(roles):
            here = contrast.base.mask if role is None else behavior.slot_mask(contrast.base, role)
            sums = {site: torch.stack([_over_tokens(shares[site], here) for shares in readings]) for site in whole}
            for s, site in enumerate(sites):
                cell = sums[site.without_head()]
                cell = how.combine(cell if site.head is None else cell[..., site.head])
                values[s, r, which][:, list(contrast.steps)] = cell.T.float().cpu()
    convention = Convention(
        "attribution", direction, corruption, metric, SIGNS[direction], model.source, len(behavior),
        int(behavior.recipe.get("seed", 0)), tuple(role for role in roles if role),
    )  # fmt: skip
    return EffectMap(sites, tuple(roles), behavior.step_names, values, convention)


def _over_tokens(shares: Tensor, here: Tensor) -> Float[Tensor, "step batch *head"]:
    where = here.reshape(*here.shape, *[1] * (shares.ndim - 3))
    return (shares * where).sum(2)


def _dot(slope: Tensor, delta: Tensor) -> Float[Tensor, "step batch pos *head"]:
    return (slope * delta).sum(-1)


# --- AtP --------------------------------------------------------------------------------------------------------------


def _plain(contrast: Contrast, sites: Sequence[Site]) -> Iterator[Shares]:
    delta, slopes = contrast.deltas(sites), contrast.gradients(sites).slopes
    yield {site: _dot(slopes[site], delta[site]) for site in sites}


ATP = Estimate(_plain, lambda reading: reading[0])
"""Plain attribution patching."""


# --- AtP* -------------------------------------------------------------------------------------------------------------


def _fixed_and_dropped(contrast: Contrast, sites: Sequence[Site]) -> Iterator[Shares]:
    """With the QK fix: the estimate itself, then once for each layer whose contributions pass no gradient on."""
    layers = {site.layer for site in sites if site.kind in ("q", "k")}
    inner = [Site(layer, kind) for layer in sorted(layers) for kind in ("q", "k", "pattern")]
    wanted = list(dict.fromkeys([*sites, *inner]))
    delta = contrast.deltas([site for site in wanted if site.kind != "pattern"])
    changes: Shares = {}
    for patches in [[], *(_stopped(layer) for layer in range(contrast.model.config.n_layers))]:
        found = contrast.gradients(wanted, patches)
        changes = changes or {
            site: _pattern_change(contrast, found, site, delta[site]) for site in sites if site.kind in ("q", "k")
        }
        yield {
            site: _through_softmax(contrast, site, found, changes[site])
            if site in changes
            else _dot(found.slopes[site], delta[site])
            for site in sites
        }


def _stopped(layer: int) -> list[Patch]:
    """What the layer adds to the stream is as it was, but no gradient goes back through it."""
    return [Patch(Site(layer, kind), torch.detach) for kind in ("attn_out", "mlp_out")]


@torch.no_grad()
def _pattern_change(contrast: Contrast, found: Gradients, site: Site, delta: Tensor) -> Tensor:
    """How the attention weights really change, `[batch, head, query, key]`, if all queries or all keys of a layer change."""
    layer, base = contrast.model.layers[site.layer], contrast.base
    offset = contrast.past.length if contrast.past else 0
    positions = torch.arange(offset, offset + base.tokens.shape[1], device=base.tokens.device)
    frame = contrast.model.frame(positions[None], before=offset)
    q, k = (found.values[Site(site.layer, kind)] for kind in ("q", "k"))
    changed = (q + delta, k) if site.kind == "q" else (q, k + delta)
    then = layer.pattern(*layer.rotated(*changed, frame), frame, contrast.past)
    return then - found.values[Site(site.layer, "pattern")]


def _through_softmax(contrast: Contrast, site: Site, found: Gradients, change: Tensor) -> Tensor:
    """The change of the pattern times its slope, `[step, batch, pos, head or kv_head]`.

    For `q` at the queries; for `k` at the keys, summed over the heads that share one.
    """
    pattern, slope = (of[Site(site.layer, "pattern")] for of in (found.values, found.slopes))
    if site.kind == "q":
        return (slope * change).sum(-1).transpose(-1, -2)
    if contrast.past:
        # rows of the change sum to 0, so a slope counts from any point: from where the keys of the past, which all
        # change by one factor, add nothing
        past = contrast.past.length
        weight = pattern[..., :past] / pattern[..., :past].sum(-1, keepdim=True).clamp(min=1e-30)
        slope = (slope - (slope[..., :past] * weight).sum(-1, keepdim=True))[..., past:]
        change = change[..., past:]
    share = (slope * change).sum(-2).unflatten(-2, (contrast.model.config.n_kv_heads, -1)).sum(-2)
    return share.transpose(-1, -2)


def _drop_average(reading: Float[Tensor, "reading step batch"]) -> Float[Tensor, "step batch"]:
    """Σ over the layers dropped of |estimate| / (layers − 1), with the sign of the estimate without a drop.

    A node's own layer dropped gives zero, hence layers − 1 (arXiv 2403.00745, §3.1.2).
    """
    whole, dropped = reading[0], reading[1:]
    size = dropped.abs().sum(0) / max(1, len(dropped) - 1)
    return torch.where(whole < 0, -size, size)


ATP_STAR = Estimate(_fixed_and_dropped, _drop_average)
"""Attribution patching with the QK fix (for `q` and `k`) and GradDrop; the size is never cancelled, the sign is AtP's."""
