"""Greedy build-up with pruning finds exactly the planted heads, and needs every one of them."""

import pytest

import cutaway
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.isolation import Isolation
from cutaway.circuits.patching import sweep
from cutaway.circuits.search.greedy import search
from cutaway.core.errors import CutawayError
from cutaway.decoder.planted import truth


@pytest.mark.parametrize("seed", range(4))
def test_greedy_finds_the_planted_heads_and_fails_without_one(seed):
    name = f"planted:acronyms@{seed}"
    model = cutaway.load(name)
    behavior = build(model.tokenizer, Acronyms(n=6, seed=seed))
    maps = [sweep(model, behavior, c) for c in behavior.corruptions if c != behavior.reference]
    totals = sum(m.total() for m in maps)
    ranking = [maps[0].sites[i] for i in totals.argsort(descending=True).tolist() if totals[i] > 1e-4]
    isolation = Isolation(model, behavior)
    assert search(isolation, ranking) == set(truth(name))
    mover = next(site for site, role in truth(name).items() if role == "letter mover")
    with pytest.raises(CutawayError, match="below the floor"):
        search(isolation, [site for site in ranking if site != mover])
