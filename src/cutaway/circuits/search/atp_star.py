"""AtP*: attribution patching with the QK fix and GradDrop, then exact elimination.

A head is four nodes: its queries, keys and values, and its output z. The attribution of queries and keys takes the change of
the attention weights as it is (the QK fix), that of values and z is AtP's; all are averaged in size over one dropped layer
after another (GradDrop), so that ways to the output which cancel do not hide a node. A head's score is that of its strongest
node: mean size over prompts, summed over answer tokens and corruptions. Keys and values that several heads share count for
each of them. `attribution.py` has the formulas.
"""

from collections.abc import Sequence

import torch

from cutaway.circuits.attribution import ATP_STAR, attribute
from cutaway.circuits.effects import EffectMap
from cutaway.circuits.graph import CHANNELS, heads_of
from cutaway.circuits.search.record import Found, Method, Options, Problem, Say, silent
from cutaway.circuits.search.screen import screened
from cutaway.circuits.variant import head_sites
from cutaway.decoder import Decoder, DecoderConfig, Site


def search(problem: Problem, options: Options = Options(), tick: Say = silent) -> Found:  # noqa: B008 - frozen
    """The circuit found; scores are in units of the metric.

    Raises:
        CutawayError: a metric without a gradient, or a floor that no heads reach.
    """
    maps = estimate(problem, options)
    tick("every node attributed")
    return screened(problem, strongest_nodes(problem.model, list(maps.values())), options, tick)


def estimate(problem: Problem, options: Options = Options()) -> dict[str, EffectMap]:  # noqa: B008 - frozen
    """corruption → attribution of every node; the sign is AtP's."""
    model, behavior, sites = problem.model, problem.behavior, nodes(problem.model.config)
    names = problem.corruptions
    return {name: attribute(model, behavior, name, sites=sites, how=ATP_STAR, **problem.how) for name in names}


def nodes(config: DecoderConfig) -> list[Site]:
    """z, q, k and v of every layer, head by head."""
    counts = {"z": config.n_heads, "q": config.n_heads, "k": config.n_kv_heads, "v": config.n_kv_heads}
    layers = range(config.n_layers)
    return [Site(layer, kind, i) for layer in layers for kind, count in counts.items() for i in range(count)]


def strongest_nodes(model: Decoder, maps: Sequence[EffectMap]) -> dict[Site, float]:
    """Each head's strongest node, by mean |attribution| over prompts, summed over answer tokens and corruptions."""
    sizes = torch.stack([found.values[:, 0].abs().mean(1).nan_to_num().sum(-1) for found in maps]).sum(0)
    scores = dict.fromkeys(head_sites(model), 0.0)
    for site, size in zip(maps[0].sites, sizes.tolist(), strict=True):
        for head in heads_of(site, model.config) if site.kind in CHANNELS else (site,):
            scores[head] = max(scores[head], size)
    return scores


METHOD = Method(
    name="atp_star",
    search=search,
    options=Options,
    about="AtP*: attribution patching that sees through saturated attention and cancelling paths, then exact pruning",
    citation="Kramár, Lieberum, Shah & Nanda 2024 (arXiv 2403.00745)",
    kind="attribution",
    estimate=estimate,
)
