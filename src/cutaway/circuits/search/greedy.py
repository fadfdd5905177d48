"""Exact greedy build-up, then exact pruning.

In every round the head joins whose joining helps most, each candidate measured exactly in the circuit so far; heads that
help equally (a chain helps only once it is whole) join in the order of the ranking. It stops as soon as every answer token
keeps `floor` of the model's performance, and hands over to the backward elimination of `prune.py`, whose stopping rule holds.
"""

from collections.abc import Callable, Sequence

from cutaway.circuits.isolation import Heads, Isolation
from cutaway.circuits.search.prune import Prune, quality
from cutaway.circuits.search.prune import search as prune
from cutaway.circuits.search.record import Method
from cutaway.decoder import Site

CANDIDATES = 24
"""Heads measured in a round: the best-ranked that are not in yet."""


def search(
    isolation: Isolation,
    ranking: Sequence[Site],
    options: Prune = Prune(),  # noqa: B008 - frozen
    tick: Callable[[str], None] = lambda said: None,
) -> Heads:
    """The circuit found; arguments and errors as in `prune.search`."""
    joined: list[Site] = []
    while len(joined) < len(ranking):
        isolation.base(joined)
        waiting = [site for site in ranking if site not in joined][:CANDIDATES]
        faith = isolation.faithfulness(isolation.scores([[*joined, site] for site in waiting]))
        best = max(range(len(waiting)), key=lambda i: (round(quality(faith[i]), 4), -i))
        joined.append(waiting[best])
        tick(f"{len(joined)} heads joined")
        if bool((faith[best] >= options.floor).all()):
            break
    return prune(isolation, joined, options, tick)


METHOD = Method(
    name="greedy",
    search=search,
    options=Prune,
    about="exact greedy build-up, every candidate measured anew in each round, then exact pruning (slower)",
    citation="the build-up of García-Carrasco et al. 2024 (arXiv 2405.04156, figure 8), with the order found instead of given",
)
