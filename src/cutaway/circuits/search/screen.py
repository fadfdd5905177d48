"""From an approximation to a circuit: its scores only say in which order heads are looked at, exact runs decide.

Every approximate method ends here, so that methods differ in their screen alone. No head is left out of the ranking: an
estimate of zero is no proof.
"""

from collections.abc import Mapping, Sequence

import torch

from cutaway.circuits.edge_attribution import signed_edges
from cutaway.circuits.effects import EdgeMap
from cutaway.circuits.graph import Edge, heads_of
from cutaway.circuits.search.eliminate import eliminate
from cutaway.circuits.search.ranking import ranked
from cutaway.circuits.search.record import Found, Kind, Options, Problem, Say
from cutaway.circuits.variant import head_sites
from cutaway.core.work import Work
from cutaway.decoder import Decoder, Site


def screened(
    problem: Problem, scores: Mapping[Site, float], options: Options, tick: Say, kind: Kind = "attribution",
    edges: dict[Edge, float] | None = None,
) -> Found:  # fmt: skip
    """Exact elimination from the ranking that the scores give.

    Raises:
        CutawayError: not even all heads together reach the floor.
    """
    if problem.work is not None:  # gradients may differ in their last bits from machine to machine
        order = problem.work.agree(torch.tensor(list(scores.values()), dtype=torch.float64))
        scores = dict(zip(scores, order.tolist(), strict=True))
    # gradients may differ by rounding from rank to rank, and all must rank alike
    agreed = (problem.work or Work()).agree(torch.tensor(list(scores.values()))).tolist()
    scores = dict(zip(scores, agreed, strict=True))
    heads = eliminate(problem.isolation, ranked(scores), options.floor, tick)
    return Found(heads, scores, problem.convention(kind, ablation=problem.ablation), edges or {})


def screened_edges(problem: Problem, maps: Sequence[EdgeMap], options: Options, tick: Say) -> Found:
    """The same from effects of edges: a head counts as much as the edge that keeps it in the graph."""
    scores = head_scores(problem.model, maps)
    return screened(problem, scores, options, tick, edges=signed_edges(maps))


def head_scores(model: Decoder, maps: Sequence[EdgeMap]) -> dict[Site, float]:
    """The threshold at which each head leaves the graph: the smaller of its strongest edge in and its strongest edge out.

    An edge is as strong as its |mean effect|, summed over answer tokens and corruptions.
    """
    strength = torch.stack([found.total() for found in maps]).sum(0).tolist()
    into, out = (dict.fromkeys(head_sites(model), 0.0) for _ in range(2))
    for edge, strong in zip(maps[0].edges, strength, strict=True):
        if edge.sender in out:
            out[edge.sender] = max(out[edge.sender], strong)
        for head in heads_of(edge.receiver, model.config):
            into[head] = max(into[head], strong)
    return {head: min(into[head], out[head]) for head in out}
