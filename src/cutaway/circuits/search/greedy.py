"""Exact greedy build-up, then exact pruning.

In every round the head joins whose joining helps most, each candidate measured exactly in the circuit so far; heads that
help equally (a chain helps only once it is whole) join in the order of the ranking. It stops as soon as every answer token
keeps `floor` of the model's performance, and hands over to the backward elimination, whose stopping rule holds.
"""

from cutaway.circuits.search.eliminate import eliminate, quality
from cutaway.circuits.search.ranking import NOISE, importance, ranked
from cutaway.circuits.search.record import Found, Method, Options, Problem, Say, silent
from cutaway.decoder import Site

CANDIDATES = 24
"""Heads measured in a round: the best-ranked that are not in yet."""


def search(problem: Problem, options: Options = Options(), tick: Say = silent) -> Found:  # noqa: B008 - frozen
    """The circuit found; scores and errors as in `prune.search`."""
    isolation, scores = problem.isolation, importance(problem.effects)
    ranking, joined = ranked(scores, NOISE), list[Site]()
    while len(joined) < len(ranking):
        isolation.base(joined)
        waiting = [site for site in ranking if site not in joined][:CANDIDATES]
        faith = isolation.faithfulness(isolation.scores([[*joined, site] for site in waiting]))
        best = max(range(len(waiting)), key=lambda i: (round(quality(faith[i]), 4), -i))
        joined.append(waiting[best])
        tick(f"{len(joined)} heads joined")
        if bool((faith[best] >= options.floor).all()):
            break
    heads = eliminate(isolation, joined, options.floor, tick)
    return Found(heads, scores, problem.convention("exact", ablation=problem.ablation))


METHOD = Method(
    name="greedy",
    search=search,
    options=Options,
    about="exact greedy build-up, every candidate measured anew in each round, then exact pruning (slower)",
    citation="the build-up of García-Carrasco et al. 2024 (arXiv 2405.04156, figure 8), with the order found instead of given",
)
