"""ACDC-style pruning: from the outputs backwards, what can be taken away without the answer losing more than a threshold.

As in Conmy et al. 2023 (arXiv 2304.14997, algorithm 1): the parts are visited from the last layer to the first; each is taken
away if, in the circuit as it stands by then, no answer token loses more than `threshold` of the model's performance, measured by an
exact run; what is taken away stays away. Once decided, a part is not looked at again, so that small losses add up: the circuit need
not meet a floor (`floor` plays no part), and need not be minimal.

Over *heads* (the default) a part is a head, ablated as the problem says. Over *edges* it is an edge, whose receiver then reads what
the sender wrote in the reference corruption (`cutting.py`); inputs of a head from which nothing leads to the output any more go
unmeasured. Its circuit is the heads that lie on a way from the embedding to the logits. That is one run for each edge that
is measured: for small models.

Where the paper measures KL divergence, this measures the problem's metric, in shares of (model − everything corrupted).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cutaway.circuits.cutting import Cutting
from cutaway.circuits.gradients import contrasts
from cutaway.circuits.graph import Edge, edges, heads_in, heads_of, receivers, senders
from cutaway.circuits.search.record import Found, Method, Options, Problem, Say, silent
from cutaway.circuits.variant import head_sites
from cutaway.core.work import Work
from cutaway.decoder import Decoder, Site


@dataclass(frozen=True)
class Acdc(Options):
    """Options of the search."""

    threshold: float = 0.01
    """Share of the model's performance that a part must be worth on some answer token."""
    edges: bool = False
    """Take away edges instead of heads."""


def search(problem: Problem, options: Acdc = Acdc(), tick: Say = silent) -> Found:
    """What is left; scores are the largest share of the performance that any answer token lost when the head (or an edge
    out of it) was looked at. `edges` has those kept over edges: metric without it − metric with it, summed over answer tokens.

    Raises:
        CutawayError: edges of a model whose edges do not add up.
    """
    return (_over_edges if options.edges else _over_heads)(problem, options.threshold, tick)


def _over_heads(problem: Problem, threshold: float, tick: Say) -> Found:
    isolation, kept, scores = problem.isolation, frozenset(head_sites(problem.model)), {}
    isolation.base(kept)
    now = isolation.faithfulness(isolation.scores([kept]))[0]
    for head in sorted(kept, key=lambda site: (-site.layer, site.head)):
        without = isolation.faithfulness(isolation.scores([kept - {head}]))[0]
        scores[head] = (now - without).max().item()
        if scores[head] < threshold:
            kept, now = kept - {head}, without
            isolation.base(kept)
        tick(f"{head} looked at, {len(kept)} heads in the circuit")
    scores = {head: scores[head] for head in head_sites(problem.model)}
    return Found(kept, scores, problem.convention("exact", problem.behavior.reference, problem.ablation))


def _over_edges(problem: Problem, threshold: float, tick: Say) -> Found:
    model, behavior = problem.model, problem.behavior
    ((_, contrast),) = contrasts(model, behavior, behavior.reference, metric=problem.metric)
    cutting, work = Cutting(contrast), problem.work or Work()
    every, cut = edges(model.config), set[Edge]()
    full, empty = (work.agree(cutting.score(some).mean(0)) for some in ((), every))
    now, lost, kept = full, dict.fromkeys(head_sites(model), 0.0), {}
    for edge in _from_the_outputs(model, every):
        if not _leads_on(edge, kept, model):
            cut.add(edge)
            continue
        without = work.agree(cutting.score(cut | {edge}).mean(0))  # all ranks decide alike
        share = ((now - without) / (full - empty)).max().item()
        if edge.sender in lost:
            lost[edge.sender] = max(lost[edge.sender], share)
        if share < threshold:
            cut.add(edge)
            now = without
        else:
            kept[edge] = (without - now).sum().item()
        tick(f"{edge} looked at, {len(kept)} edges kept")
    convention = problem.convention("exact", behavior.reference, "resample")
    return Found(heads_in(kept, model.config), lost, convention, kept)


def _from_the_outputs(model: Decoder, every: Iterable[Edge]) -> list[Edge]:
    """Edges into the last receivers first, and of those the ones from the last senders."""
    reading = {receiver: i for i, receiver in enumerate(receivers(model.config))}
    writing = {sender: i for i, sender in enumerate(senders(model.config))}
    return sorted(every, key=lambda edge: (-reading[edge.receiver], -writing[edge.sender]))


def _leads_on(edge: Edge, kept: Iterable[Edge], model: Decoder) -> bool:
    """Is anything that the receiver makes of the edge still read?"""
    if not isinstance(edge.receiver, Site):
        return True
    makes = heads_of(edge.receiver, model.config) or {edge.receiver}
    return any(other.sender in makes for other in kept)


METHOD = Method(
    name="acdc",
    search=search,
    options=Acdc,
    about="ACDC-style: from the outputs backwards, take away each head (or edge) that is worth less than a threshold",
    citation="Conmy et al. 2023 (arXiv 2304.14997, algorithm 1)",
)
