"""Patching what goes into a head, by what comes out of it: what is refused, and mistakes that are noticed.

That all kinds of sites have the effects of the naive loop, on every build of a layer, is in `test_engine.py`.
"""

import dataclasses

import pytest
import torch

from cutaway.circuits import inputs, patching
from cutaway.circuits.inputs import as_variant
from cutaway.circuits.metrics import scorer
from cutaway.circuits.patching import sweep
from cutaway.circuits.variant import Variant
from cutaway.decoder import Site

from . import naive
from .behaviors_by_hand import random_behavior
from .cases import LIMIT, build

MODEL = "shared keys"


def test_a_shared_key_is_the_output_of_all_heads_that_share_it():
    source, variant = as_variant(Site(1, "k", 1), "R1", build(MODEL).config)
    assert source == ("k", "R1")
    assert variant == Variant(frozenset([Site(1, "z", 2), Site(1, "z", 3)]))


def test_attention_as_a_whole_is_all_its_heads():
    assert as_variant(Site(2, "attn_out"), "R3", build(MODEL).config)[1] == Variant(frozenset([Site(2, "z")]), "R3")


def worst_gap() -> float:
    """Over inputs of heads, at one role: the grid against the naive loop."""
    behavior, model = random_behavior(3, prompts=3, steps=2), build(MODEL)
    sites = [Site(i, kind, 1) for i in range(2) for kind in ("q", "k", "v", "pattern")]
    found = sweep(model, behavior, "everything", sites=sites, roles=("R1",)).values[:, 0]
    base, source, score = behavior.clean, behavior.corruptions["everything"].runs[0][1], scorer(behavior)
    values = naive.corrupted(model, base, source)
    before = score.logit_diff(naive.logits(model, base, score.columns))
    gaps = []
    for site, effect in zip(sites, found, strict=True):
        patches = naive.patches(behavior, base, naive.Patched(frozenset([site]), "R1"), values)
        expected = score.logit_diff(naive.logits(model, base, score.columns, patches)) - before
        gaps.append(float((effect - expected).abs().max()))
    return max(gaps)


def at_the_role_only(monkeypatch):
    """A key changes what heads compute at its own token alone."""
    real = inputs.as_variant

    def broken(site, role, config):
        source, variant = real(site, role, config)
        return source, dataclasses.replace(variant, role=role)

    monkeypatch.setattr(patching, "as_variant", broken)


def one_of_those_that_share(monkeypatch):
    real = inputs.as_variant

    def broken(site, role, config):
        source, variant = real(site, role, config)
        return source, dataclasses.replace(variant, replaced=frozenset([next(iter(variant.replaced))]))

    monkeypatch.setattr(patching, "as_variant", broken)


def of_all_roles(monkeypatch):
    real = inputs.reference_of
    monkeypatch.setattr(patching, "reference_of", lambda kind, *runs: real((kind[0], None), *runs))


def of_the_base_run(monkeypatch):
    real = inputs.reference_of
    monkeypatch.setattr(
        patching, "reference_of", lambda kind, engine, trace, source, found: real(kind, engine, trace, engine, trace)
    )


def test_inputs_of_heads_have_the_effects_of_the_naive_loop():
    assert worst_gap() <= LIMIT


@pytest.mark.parametrize("breaks", [at_the_role_only, one_of_those_that_share, of_all_roles, of_the_base_run])
def test_a_mistake_is_noticed(breaks, monkeypatch):
    breaks(monkeypatch)
    assert worst_gap() > 100 * LIMIT


def test_a_pattern_of_prompts_of_another_length_lines_up_by_slot():
    pattern = torch.arange(9.0).reshape(1, 1, 3, 3)
    place = torch.tensor([[0, 2]])
    assert inputs._rows_and_columns(pattern, place, 0).tolist() == [[[[0, 2], [6, 8]]]]
    assert inputs._rows_and_columns(pattern, torch.tensor([[-1, 2]]), 0)[0, 0, 1].tolist() == [0, 8]
