"""Exact backward elimination: start with enough heads, and drop what can be dropped. What most methods end with.

1. Given a ranking, the smallest tried top part of it (1, 2, 3, 4, 5, 6, 8, 10 … heads) that on its own keeps `floor` of
   the model's performance on every answer token is the start.
2. In every round the head goes whose loss hurts least, provided every answer token stays at or above the floor.
   The loss of each head is measured exactly; measurements of earlier rounds only decide the order of looking (Minoux's
   lazy evaluation), so that a round looks at few heads.
3. It stops when no head can go: every head left is needed (1-minimal). That is the stopping rule.

Dropping, unlike adding, sees heads that only work together: without either of two heads in a chain, the answer is gone.
A ranking that comes from an approximation is only a screen: what is kept, and dropped, is decided by exact runs.
"""

from collections.abc import Sequence

from torch import Tensor

from cutaway.circuits.isolation import Heads, Isolation
from cutaway.circuits.search.record import Say, silent
from cutaway.core.errors import CutawayError
from cutaway.decoder import Site

LOOK = 3
"""Heads measured at a time: they share one run of the present circuit."""


def quality(faithfulness: Tensor) -> float:
    """Mean over answer tokens, counting nothing above 1: dropping a head that holds the answer back earns nothing."""
    return faithfulness.clamp(max=1).mean(-1).item()


def eliminate(isolation: Isolation, ranking: Sequence[Site], floor: float, tick: Say = silent) -> Heads:
    """The circuit left, as a set of heads.

    Args:
        ranking: heads, the most important first; heads known to have no effect left out.

    Raises:
        CutawayError: even all ranked heads together do not reach the floor.
    """
    heads = start(isolation, ranking, floor)
    tick(f"{len(heads)} heads keep at least {floor:.0%} of every answer token; dropping what can be dropped")
    rank = {site: i for i, site in enumerate(ranking)}
    # believed quality after dropping; unmeasured heads are looked at from the end of the ranking
    belief = dict.fromkeys(heads, float("inf"))
    while len(heads) > 1:
        isolation.base(heads)
        dropped = _best_drop(isolation, heads, belief, rank, floor)
        if dropped is None:
            break
        heads -= {dropped}
        belief.pop(dropped)
        tick(f"{len(heads)} heads left")
    return heads


def start(isolation: Isolation, ranking: Sequence[Site], floor: float) -> Heads:
    """The smallest tried top part of the ranking that meets the floor on every answer token."""
    isolation.base(())
    size = 1
    while True:
        size = min(size, len(ranking))
        heads = frozenset(ranking[:size])
        faith = isolation.faithfulness(isolation.scores([heads]))[0]
        if bool((faith >= floor).all()):
            return heads
        if size == len(ranking):
            got = ", ".join(f"{value:.2f}" for value in faith.tolist())
            raise CutawayError(
                f"the {size} heads with an effect keep only {got} of the answer tokens, below the floor {floor:.2f}: "
                "lower the floor, or rank more heads"
            )
        size = max(size + 1, size * 4 // 3)


def _best_drop(
    isolation: Isolation, heads: Heads, belief: dict[Site, float], rank: dict[Site, int], floor: float
) -> Site | None:
    """The head to drop, or None if every drop would break the floor. Updates `belief` with what it measured."""
    fresh: set[Site] = set()
    while True:
        order = sorted(heads, key=lambda site: (-belief[site], -rank[site]))
        best = order[0]
        if best in fresh:
            return best if belief[best] > -float("inf") else None
        look = [site for site in order if site not in fresh][:LOOK]
        for site, faith in zip(
            look, isolation.faithfulness(isolation.scores([heads - {site} for site in look])), strict=True
        ):
            belief[site] = quality(faith) if bool((faith >= floor).all()) else -float("inf")
        fresh.update(look)
