"""Which heads of a circuit speak to which, and through which input: exact path patching of the edges among them.

As Wang et al. (2022, §3.1) draw the indirect-object circuit: heads are held, MLPs are computed anew, so an edge is what one
head does to the answer through the queries, keys or values of a later one, directly or by way of the MLPs between them.
"""

from collections.abc import Callable, Collection
from typing import Literal

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.effects import EdgeMap
from cutaway.circuits.engine import TOKEN_BUDGET
from cutaway.circuits.graph import CHANNELS, EMBED, LOGITS, Edge, Receiver, Sender, feeds
from cutaway.circuits.paths import path_patch
from cutaway.core.work import Work
from cutaway.decoder import Decoder, DecoderConfig, Site

THROUGH_MLPS = True
"""What `path_patch` is asked: the MLPs between two heads belong to the way from one to the other."""


def edges_among(heads: Collection[Site], config: DecoderConfig) -> list[Edge]:
    """Every edge from the embedding or one of the heads to an input of one of the heads or to the logits."""
    inside = sorted(heads, key=lambda site: (site.layer, site.head))
    senders: list[Sender] = [EMBED, *inside]
    receivers: list[Receiver] = list(dict.fromkeys(_input(site, c, config) for site in inside for c in CHANNELS))
    receivers.append(LOGITS)
    return [Edge(sender, receiver) for sender in senders for receiver in receivers if feeds(sender, receiver, config)]


def _input(head: Site, channel: str, config: DecoderConfig) -> Receiver:
    """Of a head: its queries, or the keys or values that it may share with others."""
    group = 1 if channel == "q" else config.n_heads // config.n_kv_heads
    return Site(head.layer, channel, (head.head or 0) // group)


def circuit_edges(
    model: Decoder,
    behavior: Behavior,
    heads: Collection[Site],
    *,
    direction: Literal["noising", "denoising"] = "noising",
    budget: int = TOKEN_BUDGET,
    tick: Callable[[int], None] = lambda done: None,
    work: Work | None = None,
) -> EdgeMap:
    """Exact effect of every edge among the heads, with the behaviour's reference corruption, on each answer token.

    Args:
        direction, budget, tick, work: as in `patching.sweep`.
    """
    return path_patch(
        model,
        behavior,
        behavior.reference,
        edges=edges_among(heads, model.config),
        through_mlps=THROUGH_MLPS,
        direction=direction,
        budget=budget,
        tick=tick,
        work=work,
    )
