"""Greedy build-up with pruning finds exactly the planted heads, and needs every one of them."""

import dataclasses

import pytest
import torch

import cutaway
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.search.greedy import search
from cutaway.circuits.search.record import Problem
from cutaway.circuits.variant import head_sites
from cutaway.core.errors import CutawayError
from cutaway.decoder.planted import truth


@pytest.mark.parametrize("seed", range(4))
def test_greedy_finds_the_planted_heads_and_fails_without_one(seed):
    name = f"planted:acronyms@{seed}"
    model = cutaway.load(name)
    problem = Problem(model, build(model.tokenizer, Acronyms(n=6, seed=seed)))
    found = search(problem)
    assert found.heads == set(truth(name))
    assert set(found.scores) == set(head_sites(model))
    mover = next(site for site, role in truth(name).items() if role == "letter mover")
    without = {name: dataclasses.replace(m, values=m.values * spared(m, mover)) for name, m in problem.effects.items()}
    with pytest.raises(CutawayError, match="below the floor"):
        search(dataclasses.replace(problem, measured=without))


def spared(effects, site):
    """Zero at one site, one elsewhere."""
    return torch.tensor([float(other != site) for other in effects.sites])[:, None, None, None]
