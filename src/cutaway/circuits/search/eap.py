"""Edge attribution patching (EAP): every edge of the model from one backward pass, then exact elimination of heads.

Edges are estimated as `edge_attribution.py` says. A head's score is the threshold at which it would leave the graph of the
strongest edges: the smaller of its strongest edge in and its strongest edge out.
"""

from cutaway.circuits.edge_attribution import attribute_edges
from cutaway.circuits.effects import EdgeMap
from cutaway.circuits.search.record import Found, Method, Options, Problem, Say, silent
from cutaway.circuits.search.screen import screened_edges


def search(problem: Problem, options: Options = Options(), tick: Say = silent) -> Found:  # noqa: B008 - frozen
    """The circuit found, and an estimate for every edge; in units of the metric.

    Raises:
        CutawayError: a metric without a gradient, or a floor that no heads reach.
    """
    maps = estimate(problem, options)
    tick("every edge attributed")
    return screened_edges(problem, list(maps.values()), options, tick)


def estimate(problem: Problem, options: Options = Options()) -> dict[str, EdgeMap]:  # noqa: B008 - frozen
    """corruption → attribution of every edge."""
    return {name: attribute_edges(problem.model, problem.behavior, name, **problem.how) for name in problem.corruptions}


METHOD = Method(
    name="eap",
    search=search,
    options=Options,
    about="edge attribution patching: every edge's effect from gradients, then exact pruning of heads",
    citation="Syed, Rager & Conmy 2023 (arXiv 2310.10348)",
    kind="attribution",
    finds="edges",
    estimate=estimate,
)
