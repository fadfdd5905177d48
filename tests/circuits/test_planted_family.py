"""The planted circuits beyond acronyms and induction: right answers, attention as built, exactly the planted heads found."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch

from cutaway import CutawayError
from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors import behavior_recipe
from cutaway.circuits.behaviors.ioi import IOI
from cutaway.circuits.behaviors.ioi import build as ioi
from cutaway.circuits.metrics import greedy_matches, scorer
from cutaway.circuits.patching import sweep
from cutaway.circuits.search.prune import search
from cutaway.circuits.search.ranking import importance
from cutaway.circuits.search.record import Problem
from cutaway.decoder import Site
from cutaway.decoder.planted import plant, truth
from cutaway.decoder.planted.ioi import NAMES as PLANTED_NAMES
from cutaway.decoder.planted.record import Planted

NEW = ("docstring", "greater_than", "ioi")
SEEDS = range(8)
CASES = [f"planted:{circuit}@{seed}" for circuit in NEW for seed in SEEDS]
FEW = [f"planted:{circuit}@{seed}" for circuit in NEW for seed in range(2)]
NOISE = 2e-4
"""What float32 leaves of an effect that is zero, summed over corruptions; a hundred years add up in greater_than."""


@cache
def scene(name: str) -> tuple[Planted, Behavior]:
    made, seed = plant(name), int(name.split("@")[1])
    recipe = behavior_recipe(name.removeprefix("planted:").split("@")[0])
    return made, recipe.build(made.model.tokenizer, replace(recipe.config(), n=8, seed=seed))


@cache
def problem(name: str, ablation: str = "mean") -> Problem:
    made, behavior = scene(name)
    return Problem(made.model, behavior, ablation=ablation)


def of_role(made: Planted, role: str) -> list[Site]:
    return [site for site, each in made.heads.items() if each == role]


def looks(name: str, site: Site, query: str, key: str) -> torch.Tensor:
    """Attention from the last token of one role to the last of another, for every prompt."""
    made, behavior = scene(name)
    whole = Site(site.layer, "pattern", site.head)
    run = made.model.run(behavior.clean.tokens, mask=behavior.clean.mask, capture=[whole])

    def last(role: str) -> torch.Tensor:
        mask = behavior.slot_mask(behavior.clean, role).int()
        return mask.shape[1] - 1 - mask.flip(1).argmax(1)

    return run.sites[whole][torch.arange(len(behavior)), last(query), last(key)]


@pytest.mark.parametrize("name", CASES)
def test_every_prompt_is_answered_right_and_clearly(name):
    made, behavior = scene(name)
    logits = made.model.run(behavior.clean.tokens, mask=behavior.clean.mask, scored=behavior.clean.steps).logits
    score = scorer(behavior)
    assert score.logit_diff(logits[..., score.columns]).min() > 3
    if "greater_than" not in name:  # there, all later years are right alike
        assert greedy_matches(logits, behavior).all()


@pytest.mark.parametrize("name", CASES)
def test_effects_are_zero_on_distractors_and_large_on_planted_heads(name):
    made, _ = scene(name)
    effects = importance(problem(name).effects)
    assert max(effects[site] for site in made.distractors) <= NOISE
    assert min(effects[site] for site in made.heads) > 0.5


@pytest.mark.parametrize("name", CASES)
def test_search_finds_exactly_the_planted_heads(name):
    assert search(problem(name)).heads == set(scene(name)[0].heads)


@pytest.mark.parametrize("ablation", ["resample", "zero"])
@pytest.mark.parametrize("name", FEW)
def test_other_ablations_find_the_same(name, ablation):
    assert search(problem(name, ablation)).heads == set(scene(name)[0].heads)


@pytest.mark.parametrize("circuit", NEW)
def test_seeds_change_sizes_places_and_distractors(circuit):
    made = [scene(name)[0] for name in CASES if circuit in name]
    assert len({(m.model.config.n_layers, m.model.config.n_heads, m.model.config.d_model) for m in made}) == len(made)
    assert len({tuple(m.heads) for m in made}) > len(made) / 2
    kinds = {kind for m in made for kind in m.distractors.values()}
    assert kinds == {"twin", "first token", "noise", "even"} | ({"late"} if circuit != "greater_than" else set())


@pytest.mark.parametrize("name", [name for name in CASES if ":ioi" in name])
def test_heads_of_the_ioi_circuit_attend_where_they_were_built_to(name):
    made, _ = scene(name)
    for role, query, key in (("duplicate-token", "S2", "S1"), ("inhibition", "END", "S2"), ("name mover", "END", "IO")):
        for site in of_role(made, role):
            assert looks(name, site, query, key).min() > 0.9


@pytest.mark.parametrize("name", [name for name in CASES if ":docstring" in name])
def test_heads_of_the_docstring_circuit_attend_where_they_were_built_to(name):
    made, _ = scene(name)
    for role, query, key in (("positional", "param", "B described"), ("argument mover", "param", "C")):
        for site in of_role(made, role):
            assert looks(name, site, query, key).min() > 0.9


@pytest.mark.parametrize("name", [name for name in CASES if ":greater_than" in name])
def test_the_start_year_reaches_the_logits_through_the_mlp_alone(name):
    made, behavior = scene(name)
    for site in of_role(made, "year mover"):
        assert looks(name, site, "END", "YY").min() > 0.9
    without = copy.deepcopy(made.model)
    without.layers[-1].down.weight.zero_()
    effect = sweep(without, behavior, "later start", sites=list(made.heads))
    assert effect.values.abs().max() <= NOISE


def test_roles():
    assert set(truth("planted:ioi").values()) == {"duplicate-token", "inhibition", "name mover"}
    assert set(truth("planted:docstring").values()) == {"previous-token", "positional", "argument mover"}
    assert set(truth("planted:greater_than").values()) == {"year mover"}


def test_the_planted_names_are_names_of_the_behaviour():
    assert len(ioi(scene("planted:ioi@0")[0].model.tokenizer, IOI(n=1, own_names=PLANTED_NAMES))) == 1
    behavior = scene("planted:ioi@0")[1]
    assert len(set(behavior.answers.flatten().tolist())) > 2


# --- and would notice if it were not there --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f"planted:{circuit}@0" for circuit in NEW])
def test_a_silenced_head_is_missed(name):
    made, behavior = scene(name)
    for missing in list(made.heads)[:: len(made.heads) - 1]:  # the first and the last of the chain
        model = copy.deepcopy(made.model)
        width = model.config.d_head
        model.layers[missing.layer].o.weight[:, missing.head * width : (missing.head + 1) * width] = 0
        try:
            found = search(Problem(model, behavior)).heads
        except CutawayError:
            continue
        assert found != set(made.heads)


def test_an_even_head_that_favours_one_answer_is_noticed():
    """Mutation of the model: such a head has no effect because it lifts all answers alike, not because nobody looks."""
    name = next(name for name in CASES if ":ioi" in name and "even" in scene(name)[0].distractors.values())
    made, behavior = scene(name)
    even = next(site for site, kind in made.distractors.items() if kind == "even")
    model, width = copy.deepcopy(made.model), made.model.config.d_head
    block = model.layers[even.layer].v.weight[even.head * width : (even.head + 1) * width]
    block += torch.randn(block.shape, generator=torch.Generator().manual_seed(0))
    favour = model.unembed.weight[behavior.answers[0, 0]]
    model.layers[even.layer].o.weight[:, even.head * width : (even.head + 1) * width] += favour[:, None]
    assert sweep(model, behavior, "subject flipped", sites=[even]).values.abs().max() > 100 * NOISE


def test_a_late_head_in_an_earlier_place_would_matter():
    """Its copy is real: a late head writes where planted ones read, only too late."""
    name = next(name for name in CASES if "late" in scene(name)[0].distractors.values())
    made, _ = scene(name)
    late = next(site for site, kind in made.distractors.items() if kind == "late")
    width = made.model.config.d_head
    assert late.layer >= max(site.layer for site in made.heads)

    def writes(site: Site) -> torch.Tensor:
        cut = slice(site.head * width, (site.head + 1) * width)
        layer = made.model.layers[site.layer]
        return layer.o.weight[:, cut] @ layer.v.weight[cut]

    gaps = [float((writes(late) - writes(site)).norm() / writes(site).norm()) for site in made.heads]
    assert min(gaps) < 1e-4
