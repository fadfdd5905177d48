"""Attribution patching of heads (AtP), then exact elimination: the sweep of every head for the price of a few passes.

A head's score is |mean attribution|, summed over answer tokens and corruptions: what `prune` ranks by, with the estimate in
place of the exact effect. `attribution.py` has the formula.
"""

from cutaway.circuits.attribution import attribute
from cutaway.circuits.effects import EffectMap
from cutaway.circuits.search.ranking import importance
from cutaway.circuits.search.record import Found, Method, Options, Problem, Say, silent
from cutaway.circuits.search.screen import screened


def search(problem: Problem, options: Options = Options(), tick: Say = silent) -> Found:  # noqa: B008 - frozen
    """The circuit found; scores are in units of the metric.

    Raises:
        CutawayError: a metric without a gradient, or a floor that no heads reach.
    """
    maps = estimate(problem, options)
    tick("every head attributed")
    return screened(problem, importance(maps), options, tick)


def estimate(problem: Problem, options: Options = Options()) -> dict[str, EffectMap]:  # noqa: B008 - frozen
    """corruption → attribution of every head."""
    return {name: attribute(problem.model, problem.behavior, name, **problem.how) for name in problem.corruptions}


METHOD = Method(
    name="atp",
    search=search,
    options=Options,
    about="attribution patching: each head's effect from gradients, then exact pruning from that ranking",
    citation="Nanda 2023, Attribution Patching; Syed, Rager & Conmy 2023 (arXiv 2310.10348)",
    kind="attribution",
    estimate=estimate,
)
