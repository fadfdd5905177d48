"""Variants of a model spread over two devices: the engine gives each layer its tensors where its weights are."""

import random

import pytest
import torch

import cutaway
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.config import Find
from cutaway.circuits.engine import Engine, shared_past
from cutaway.circuits.find import find
from cutaway.circuits.metrics import scorer
from cutaway.circuits.reference import from_run, slot_means, zeros
from cutaway.decoder.placement import place
from decoder.decoders import decoder
from decoder.fake_devices import FakeDevices

from .behaviors_by_hand import random_behavior
from .cases import random_background, random_variants

SMALL = Find(n_sweep=2, n_search=3, n_verify=3, n_random=1)
TWO = [torch.device("cuda", 0), torch.device("cuda", 1)]


def logits(model, values: str, seed: int, background: bool):
    behavior, rng = random_behavior(seed, steps=2, shared=3).to(model.device), random.Random(seed)
    base, source = behavior.clean, behavior.corruptions["everything"].runs[0][1]
    past = shared_past(model, behavior) if values != "zero" else None
    with torch.inference_mode():
        engine, other = (
            Engine(model, behavior, prompts, columns=scorer(behavior).columns, past=past) for prompts in (base, source)
        )
        if values == "zero":
            reference = zeros(engine, engine.trace())
        else:
            reference = (slot_means if values == "mean" else from_run)(engine, other, other.trace())
        behind = random_background(model, behavior, rng) if background else None
        variants = random_variants(model, behavior, rng)
        return engine.logits(variants, reference, engine.trace(behind, reference), behind)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("values", ["resample", "mean", "zero"])
@pytest.mark.parametrize("name", ["learned positions", "shared keys", "second norms"])
def test_two_devices_compute_what_one_does(name, values, background):
    for seed in range(3):
        expected = logits(decoder(name), values, seed, background)
        with FakeDevices():
            got = logits(place(decoder(name), TWO), values, seed, background)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_the_whole_search_on_two_devices_finds_what_it_finds_on_one():
    def found(spread: bool):
        model = cutaway.load("planted:acronyms@1")
        model = place(model, TWO) if spread else model
        return find(model, build(model.tokenizer, Acronyms(n=SMALL.n_prompts)), SMALL)

    expected = found(False)
    with FakeDevices() as fake:
        got = found(True)
    assert got.circuit.sites == expected.circuit.sites
    for name, effects in expected.heads.items():
        torch.testing.assert_close(got.heads[name].values, effects.values, rtol=0, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(got.paths.values, expected.paths.values, rtol=0, atol=1e-5)
    assert fake.moves > 0
