"""The edges among the heads of a circuit: which they are, and that their effects are those of two whole passes each."""

from itertools import product

import pytest
import torch

import cutaway
from cutaway import Site
from cutaway.circuits import graph
from cutaway.circuits.behaviors.acronyms import Acronyms
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.explain import edges
from cutaway.circuits.explain.edges import circuit_edges, edges_among
from cutaway.circuits.graph import EMBED, LOGITS
from cutaway.circuits.plan import Plan
from cutaway.decoder.planted import truth
from decoder.decoders import CONFIGS

from .behaviors_by_hand import random_behavior
from .cases import LIMIT, build
from .test_paths import naive_paths

HEADS = [Site(2, "z", 3), Site(0, "z", 1), Site(1, "z", 0), Site(1, "z", 1), Site(2, "z", 2)]


def gap(name: str, direction: str = "noising") -> float:
    model, behavior = build(name), random_behavior(2, prompts=3, steps=2)
    found = circuit_edges(model, behavior, HEADS, direction=direction)
    assert found.convention.corruption == behavior.reference
    expected = naive_paths(
        model, behavior, behavior.reference, found.edges, through_mlps=True, direction=found.convention.direction
    )
    assert found.values.abs().max() > 0.01
    return float((found.values - expected).abs().max())


@pytest.mark.parametrize("name", CONFIGS)
def test_the_edges_are_those_of_the_model_that_have_both_ends_in_the_circuit(name):
    config = build(name).config
    inputs = {receiver for receiver in graph.receivers(config) if graph.heads_of(receiver, config) & set(HEADS)} | {
        LOGITS
    }
    expected = {e for e in graph.edges(config) if e.sender in {EMBED, *HEADS} and e.receiver in inputs}
    found = edges_among(HEADS, config)
    assert set(found) == expected
    assert len(found) == len(expected)
    layers = [-1 if edge.sender == EMBED else edge.sender.layer for edge in found]
    assert layers == sorted(layers)


@pytest.mark.parametrize(("name", "direction"), list(product(CONFIGS, ["noising", "denoising"])))
def test_their_effects_are_those_of_the_naive_loop(name, direction):
    assert gap(name, direction) <= LIMIT


def test_broken_edges_are_noticed(monkeypatch):
    """MLPs held where they belong to the way; one sender's values taken for another's, one input's for another's."""
    assert gap("shared keys") <= LIMIT
    with monkeypatch.context() as broken:
        broken.setattr(edges, "THROUGH_MLPS", False)
        assert gap("shared keys") > 10 * LIMIT
    with monkeypatch.context() as broken:
        real = Plan.__init__

        def of_one_source(self, *args, **named):
            real(self, *args, **named)
            self._source = torch.zeros_like(self._source)

        broken.setattr(Plan, "__init__", of_one_source)
        assert gap("shared keys") > 10 * LIMIT


PLANTED = {
    ("embed", "previous-token.v"): "the letter of the token before",
    ("previous-token", "previous-token.v"): "and of the one before that",
    ("embed", "positional.q"): "the letter just written",
    ("previous-token", "positional.k"): "the letter of the word that a token is in",
    ("positional", "letter mover.q"): "which word is next",
    ("embed", "letter mover.v"): "its letter",
    ("letter mover", "logits"): "the answer",
}
"""What each edge of the planted acronym circuit carries (docs/planted.md)."""


@pytest.mark.parametrize("seed", range(5))
def test_in_a_planted_circuit_the_edges_are_those_that_were_planted(seed):
    name = f"planted:acronyms@{seed}"
    model, roles = cutaway.load(name), truth(name)
    found = circuit_edges(model, acronyms(model.tokenizer, Acronyms(n=6, seed=seed)), list(roles))
    strong = set()
    for edge, effect in zip(found.edges, found.total().tolist(), strict=True):
        assert effect < 1e-3 or effect > 0.1, edge
        readers = [roles[head] for head in graph.heads_of(edge.receiver, model.config) if head in roles]
        reader = f"{readers[0]}.{edge.receiver.kind}" if readers else LOGITS
        if effect > 0.1:
            strong.add((roles.get(edge.sender, edge.sender), reader))
    assert strong == set(PLANTED)
