"""Edge attribution patching with integrated gradients (EAP-IG), then exact elimination of heads.

As `eap`, with gradients averaged over runs whose embeddings lie between the clean and the corrupted prompt, so that a metric
that is flat at the clean prompt does not hide an edge.
"""

from dataclasses import dataclass

from cutaway.circuits.edge_attribution import attribute_edges
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
    maps = []
    how = {"direction": problem.direction, "metric": problem.metric, "budget": problem.budget}
    for name in problem.corruptions:
        maps.append(attribute_edges(problem.model, problem.behavior, name, points=options.points, **how))
        tick(f"every edge attributed: {name}")
    return screened_edges(problem, maps, options, tick)


METHOD = Method(
    name="eap_ig",
    search=search,
    options=Integrated,
    about="edge attribution patching with integrated gradients, then exact pruning of heads",
    citation="Hanna, Pezzelle & Belinkov 2024 (arXiv 2403.17806)",
    kind="attribution",
    finds="edges",
)
