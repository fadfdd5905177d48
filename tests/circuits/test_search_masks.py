"""Gates that are all open or shut are circuits on their own; trained ones find the planted heads; the seed decides."""

from dataclasses import replace

import pytest
import torch

import cutaway
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.search import masks
from cutaway.circuits.search.masks import Gated, Masks, gates, learn, likely_open, search
from cutaway.circuits.search.record import Problem
from cutaway.circuits.variant import head_sites
from cutaway.core.errors import CutawayError
from cutaway.decoder.planted import truth
from decoder.decoders import CONFIGS

from .behaviors_by_hand import random_behavior
from .cases import LIMIT
from .cases import build as tiny

NAME = "planted:acronyms@0"


def problem(seed: int = 0) -> Problem:
    model = cutaway.load(NAME)
    return Problem(model, build(model.tokenizer, Acronyms(n=6)), seed=seed)


def shut(scene: Problem, circuit) -> torch.Tensor:
    """Gates `[batch, layer, head]` that leave a circuit on its own."""
    c = scene.model.config
    gate = torch.tensor([float(head in circuit) for head in head_sites(scene.model)])
    return gate.reshape(c.n_layers, c.n_heads).expand(len(scene.behavior), -1, -1)


@pytest.mark.parametrize("ablation", ["mean", "resample", "zero"])
@pytest.mark.parametrize("name", CONFIGS)
def test_shut_gates_leave_a_circuit_on_its_own(name, ablation):
    scene = Problem(tiny(name), random_behavior(3, prompts=4, steps=2), ablation=ablation)
    heads = head_sites(scene.model)
    for circuit in (set(heads), set(heads[::2]), {heads[5]}, set()):
        ours = Gated(scene).score(shut(scene, circuit)).detach()
        torch.testing.assert_close(ours, scene.isolation.scores([circuit])[0], rtol=0, atol=LIMIT)


def test_gates_are_as_often_shut_as_is_said():
    log_alpha = torch.tensor([[-2.0, 0.0, 2.0]])
    drawn = gates(log_alpha, torch.rand(20000, 1, 3, generator=torch.Generator().manual_seed(0)))
    assert drawn.min() == 0
    assert drawn.max() == 1
    torch.testing.assert_close((drawn > 0).float().mean(0), likely_open(log_alpha), atol=0.01, rtol=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_finds_exactly_the_planted_heads(seed):
    scene = replace(problem(seed), measured={})  # exact effects are not looked at
    found = search(scene)
    assert found.heads == set(truth(NAME))
    assert list(found.scores) == head_sites(scene.model)
    assert min(found.scores[head] for head in found.heads) > max(
        score for head, score in found.scores.items() if head not in found.heads
    )
    assert (found.convention.kind, found.convention.seed) == ("learned", seed)


def test_the_seed_decides():
    few = Masks(rounds=3)
    first, again = (learn(problem(0), few) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, learn(problem(1), few))


def test_a_price_of_nothing_keeps_the_gates_open_and_gates_without_effect_learn_nothing(monkeypatch):
    """Mutation: gates that do not gate leave only the price, which falls on all heads alike."""
    assert learn(problem(), Masks(rounds=5, price=0.0)).min() > 1
    real = Gated.score
    monkeypatch.setattr(masks.Gated, "score", lambda self, gate: real(self, torch.ones_like(gate)))
    found = learn(problem(), Masks(rounds=5))
    assert float(found.max() - found.min()) < 1e-5


def test_no_rounds_are_one_line():
    with pytest.raises(CutawayError, match="at least 1"):
        learn(problem(), Masks(rounds=0))
