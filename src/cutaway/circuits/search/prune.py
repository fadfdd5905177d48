"""Exact backward elimination from the ranking by exact patching effects: `eliminate.py` says how."""

from cutaway.circuits.search.eliminate import eliminate
from cutaway.circuits.search.ranking import NOISE, importance, ranked
from cutaway.circuits.search.record import Found, Method, Options, Problem, Say, silent


def search(problem: Problem, options: Options = Options(), tick: Say = silent) -> Found:  # noqa: B008 - frozen
    """The heads left when none can be dropped; scores are the exact effects, in units of the metric.

    Raises:
        CutawayError: all heads with an effect together do not reach the floor.
    """
    scores = importance(problem.effects)
    heads = eliminate(problem.isolation, ranked(scores, NOISE), options.floor, tick)
    return Found(heads, scores, problem.convention("exact", ablation=problem.ablation))


METHOD = Method(
    name="prune",
    search=search,
    options=Options,
    about="exact backward elimination from the best-ranked heads until every head left is needed",
    citation="greedy elimination as in Wang et al. 2022 (arXiv 2211.00593, §4); lazy evaluation: Minoux 1978",
)
