"""Edge attribution patching with integrated gradients (EAP-IG), then exact elimination of heads.

As `eap`, with gradients averaged over runs whose embeddings lie between the clean and the corrupted prompt, so that a metric
that is flat at the clean prompt does not hide an edge.
"""

from dataclasses import dataclass

from cutaway.circuits.edge_attribution import attribute_edges
from cutaway.circuits.effects import EdgeMap
from cutaway.circuits.search.record import Found, Method, Options, Problem, Say, silent
from cutaway.circuits.search.screen import screened_edges


@dataclass(frozen=True)
class Integrated(Options):
    """Options of the search."""

    points: int = 5
    """Runs between the two prompts whose gradients are averaged."""


def search(problem: Problem, options: Integrated = Integrated(), tick: Say = silent) -> Found:
    """The circuit found, and an estimate for every edge; in units of the metric.

    Raises:
        CutawayError: a metric without a gradient, no points, or a floor that no heads reach.
    """
    maps = estimate(problem, options)
    tick("every edge attributed")
    return screened_edges(problem, list(maps.values()), options, tick)


def estimate(problem: Problem, options: Integrated = Integrated()) -> dict[str, EdgeMap]:
    """corruption → attribution of every edge."""
    model, behavior, points = problem.model, problem.behavior, options.points
    return {name: attribute_edges(model, behavior, name, points=points, **problem.how) for name in problem.corruptions}


METHOD = Method(
    name="eap_ig",
    search=search,
    options=Integrated,
    about="edge attribution patching with integrated gradients, then exact pruning of heads",
    citation="Hanna, Pezzelle & Belinkov 2024 (arXiv 2403.17806)",
    kind="attribution",
    finds="edges",
    estimate=estimate,
)
