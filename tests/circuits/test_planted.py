"""The whole way from prompts to a circuit, on models whose circuit is known: exactly the planted heads are found."""

import contextlib
import copy
import io
import re
from functools import cache
from pathlib import Path

import pytest
import torch

import cutaway
from cutaway import CutawayError, Site
from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.acronyms import Acronyms
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.behaviors.induction import Induction
from cutaway.circuits.behaviors.induction import build as induction
from cutaway.circuits.effects import EffectMap
from cutaway.circuits.engine import Engine
from cutaway.circuits.isolation import Isolation
from cutaway.circuits.metrics import greedy_matches, scorer
from cutaway.circuits.patching import sweep
from cutaway.circuits.search.eliminate import eliminate
from cutaway.circuits.variant import Variant
from cutaway.decoder.planted import plant, planted, truth
from cutaway.decoder.planted.pieces import acronym_vocabulary, split_words, tokenizer
from cutaway.decoder.planted.record import Planted, circuits
from cutaway.decoder.planted.weights import place_codes, step_on

SEEDS = range(20)
NAMES = [f"planted:{circuit}@{seed}" for circuit in ("acronyms", "induction") for seed in SEEDS]
FEW = [f"planted:{circuit}@{seed}" for circuit in ("acronyms", "induction") for seed in range(3)]
NOISE = 1e-5
"""What float32 leaves of an effect that is zero."""


@cache
def scene(name: str) -> tuple[Planted, Behavior]:
    """A planted model and prompts for it; some with two or four letters, every fourth without a worked example."""
    made, seed = plant(name), int(name.split("@")[1])
    if "acronyms" in name:
        example = "" if seed % 4 == 3 else Acronyms().example
        words = {1: 2, 10: 4}.get(seed, 3)
        return made, acronyms(made.model.tokenizer, Acronyms(n=6, words=words, seed=seed, example=example))
    return made, induction(made.model.tokenizer, Induction(n=6, seed=seed))


@cache
def effects(name: str) -> dict[str, EffectMap]:
    made, behavior = scene(name)
    return measure(made.model, behavior)


def measure(model, behavior: Behavior) -> dict[str, EffectMap]:
    return {c: sweep(model, behavior, c) for c in behavior.corruptions if c != behavior.reference}


def ranked(maps: dict[str, EffectMap]) -> list[Site]:
    """Heads from the most to the least important, those without effect left out."""
    totals = sum(effect.total() for effect in maps.values()).tolist()
    sites = next(iter(maps.values())).sites
    return [site for total, site in sorted(zip(totals, sites, strict=True), key=lambda pair: -pair[0]) if total > 1e-4]


def find(model, behavior: Behavior, ablation: str = "mean") -> frozenset[Site]:
    return eliminate(Isolation(model, behavior, ablation=ablation), ranked(measure(model, behavior)), 0.9)


def kinds_of(made: Planted, kind: str) -> list[Site]:
    return [site for site, role in made.heads.items() if role == kind]


# --- the models do what they are said to do -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_model_answers_every_prompt_right_and_clearly(name):
    made, behavior = scene(name)
    logits = made.model.run(behavior.clean.tokens, mask=behavior.clean.mask, scored=behavior.clean.steps).logits
    assert greedy_matches(logits, behavior).all()
    score = scorer(behavior)
    assert score.logit_diff(logits[..., score.columns]).min() > 3


@pytest.mark.parametrize("circuit", ["acronyms", "induction"])
def test_seeds_change_sizes_places_and_numbers(circuit):
    made = [scene(name)[0] for name in NAMES if circuit in name]
    sizes = {(m.model.config.n_layers, m.model.config.n_heads) for m in made}
    assert len(sizes) > 8
    assert {layers for layers, _ in sizes} == {4, 5, 6}
    assert len({tuple(m.heads) for m in made}) == len(made)
    assert {len(m.heads) for m in made} == ({5, 6} if circuit == "acronyms" else {3, 4})
    assert {kind for m in made for kind in m.distractors.values()} == {"twin", "first token", "noise"}
    for m in made:
        n_heads = m.model.config.n_layers * m.model.config.n_heads
        assert len(m.heads) + len(m.distractors) == n_heads
        assert not m.heads.keys() & m.distractors.keys()


def test_roles_are_named_as_the_explanations_name_them():
    assert set(truth("planted:acronyms").values()) == {"previous-token", "positional", "letter mover"}
    assert set(truth("planted:induction").values()) == {"previous-token", "induction"}
    assert list(truth("planted:acronyms-negative").values()).count("negative") == 1


@cache
def patterns(name: str) -> dict[Site, torch.Tensor]:
    """The attention of every planted head on the clean prompts, `[batch, query, key]` each."""
    made, behavior = scene(name)
    wanted = {Site(site.layer, "pattern", site.head): site for site in made.heads}
    run = made.model.run(behavior.clean.tokens, mask=behavior.clean.mask, capture=wanted)
    return {site: run.sites[whole] for whole, site in wanted.items()}


def looks(name: str, site: Site, role: str, step: int, last: bool = False) -> torch.Tensor:
    """Attention from a step's query to the first (or last) token of a role, for every prompt."""
    behavior = scene(name)[1]
    where = behavior.slot_mask(behavior.clean, role).int()
    width = where.shape[1]
    places = width - 1 - where.flip(1).argmax(1) if last else where.argmax(1)
    return patterns(name)[site][torch.arange(len(behavior)), behavior.clean.steps[:, step], places]


@pytest.mark.parametrize("name", [name for name in NAMES if "acronyms" in name])
def test_heads_of_the_acronym_circuit_attend_where_they_were_built_to(name):
    made, behavior = scene(name)
    for step in range(behavior.n_steps):
        for mover in kinds_of(made, "letter mover"):
            assert looks(name, mover, f"C{step + 1}", step).min() > 0.9
        source = f"T{step}" if step else "The"
        for head in kinds_of(made, "positional"):
            assert looks(name, head, source, step, last=True).min() > 0.9


@pytest.mark.parametrize("name", [name for name in NAMES if "induction" in name])
def test_induction_heads_attend_to_the_token_after_the_first_occurrence(name):
    for head in kinds_of(scene(name)[0], "induction"):
        assert looks(name, head, "B", 0).min() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_previous_token_heads_attend_to_the_previous_token(name):
    made, behavior = scene(name)
    for head in kinds_of(made, "previous-token"):
        before = patterns(name)[head].diagonal(-1, dim1=1, dim2=2)
        assert before[behavior.clean.mask[:, 1:]].min() > 0.9


# --- the instruments see what is there ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_effects_are_zero_on_distractors_and_only_there(name):
    made, _ = scene(name)
    strongest = {}
    for effect in effects(name).values():
        for i, site in enumerate(effect.sites):
            strongest[site] = max(strongest.get(site, 0), effect.values[i].nan_to_num().abs().max().item())
    assert max(strongest[site] for site in made.distractors) <= NOISE
    assert min(strongest[site] for site in made.heads) > 0.5


@pytest.mark.parametrize("name", [name for name in NAMES if "acronyms" in name])
def test_each_corruption_shows_its_own_part_of_the_acronym_circuit(name):
    made, _ = scene(name)
    movers = set(kinds_of(made, "letter mover"))
    shown = {c: set(ranked({c: effect})) for c, effect in effects(name).items()}
    assert shown["current word"] == movers
    assert shown["previous words"] == set(made.heads)
    assert shown["previous letters"] == movers | set(kinds_of(made, "positional"))


@pytest.mark.parametrize("name", NAMES)
def test_search_finds_exactly_the_planted_heads(name):
    made, behavior = scene(name)
    assert eliminate(Isolation(made.model, behavior), ranked(effects(name)), 0.9) == set(made.heads)


@pytest.mark.parametrize("ablation", ["resample", "zero"])
@pytest.mark.parametrize("name", FEW)
def test_other_ablations_find_the_same(name, ablation):
    made, behavior = scene(name)
    isolation = Isolation(made.model, behavior, ablation=ablation)
    assert eliminate(isolation, ranked(effects(name)), 0.9) == set(made.heads)


@pytest.mark.parametrize("name", ["planted:acronyms@3", "planted:induction@3"])
def test_a_worst_ranking_finds_the_same(name):
    """Dropping is exact: the order of the ranking, and idle heads in it, cost time but change nothing."""
    made, behavior = scene(name)
    worst = [*made.distractors, *reversed(ranked(effects(name)))]
    assert eliminate(Isolation(made.model, behavior), worst, 0.9) == set(made.heads)


def test_a_negative_head_pushes_the_other_way_and_is_no_part_of_the_circuit():
    made = plant("planted:acronyms-negative@1")
    behavior = acronyms(made.model.tokenizer, Acronyms(n=6))
    (brake,), movers = kinds_of(made, "negative"), kinds_of(made, "letter mover")
    effect = sweep(made.model, behavior, "current word")
    assert effect.of(brake).min() > 0.1
    assert max(effect.of(mover).max() for mover in movers) < -0.1
    assert find(made.model, behavior) == set(made.heads) - {brake}


# --- and would notice if it were not there --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["planted:acronyms@0", "planted:induction@0"])
def test_without_any_one_planted_head_the_floor_is_out_of_reach(name):
    made, behavior = scene(name)
    isolation = Isolation(made.model, behavior)
    for missing in made.heads:
        rest = [site for site in ranked(effects(name)) if site != missing]
        with pytest.raises(CutawayError, match="below the floor"):
            eliminate(isolation, [*rest, *made.distractors], 0.9)


@pytest.mark.parametrize("name", ["planted:acronyms@0", "planted:induction@0"])
def test_a_silenced_head_is_missed(name):
    """Mutation of the model: with one head's output gone, its effect is zero and the model answers worse."""
    made, behavior = scene(name)
    whole = Isolation(made.model, behavior).full().mean()
    for site in made.heads:
        model = copy.deepcopy(made.model)
        width = model.config.d_head
        model.layers[site.layer].o.weight[:, site.head * width : (site.head + 1) * width] = 0
        for corruption in effects(name):
            assert sweep(model, behavior, corruption, sites=[site]).values.nan_to_num().abs().max() <= NOISE
        assert Isolation(model, behavior).full().mean() < 0.9 * whole


def test_a_distractor_that_writes_to_the_answer_is_noticed():
    """Mutation of the model: zero effects come from what distractors write, not from blindness to them."""
    made, behavior = scene("planted:acronyms@0")
    model = copy.deepcopy(made.model)
    noise = {kind: site for site, kind in made.distractors.items()}["noise"]
    width = model.config.d_head
    answer = model.unembed.weight[behavior.answers[0, 0]]
    model.layers[noise.layer].o.weight[:, noise.head * width : (noise.head + 1) * width] += answer[:, None]
    effect = sweep(model, behavior, "current word", sites=[noise])
    assert effect.values.nan_to_num().abs().max() > 100 * NOISE


def neighbours(sites: frozenset[Site], n_heads: int) -> frozenset[Site]:
    return frozenset(Site(site.layer, site.kind, (site.head + 1) % n_heads) for site in sites)


def nothing(sites: frozenset[Site], n_heads: int) -> frozenset[Site]:
    return frozenset()


def whole_layers(sites: frozenset[Site], n_heads: int) -> frozenset[Site]:
    return frozenset(Site(layer, "z", head) for layer in {site.layer for site in sites} for head in range(n_heads))


@pytest.mark.parametrize("broken", [neighbours, nothing, whole_layers])
def test_a_broken_engine_does_not_find_the_circuit(broken, monkeypatch):
    """Mutation of the instrument: three ways of replacing the wrong heads, each of which must change what is found."""
    made, behavior = scene("planted:acronyms@0")
    n_heads, real = made.model.config.n_heads, Engine.run

    def run(self, variants, *rest, **named):
        return real(self, [Variant(broken(v.replaced, n_heads), v.role) for v in variants], *rest, **named)

    monkeypatch.setattr(Engine, "run", run)
    try:
        found = find(made.model, behavior)
    except (CutawayError, IndexError, ValueError):
        found = frozenset()
    assert found != set(made.heads)


# --- names, words, tokens -------------------------------------------------------------------------------------------


def test_load_knows_planted_names():
    model = cutaway.load("planted:acronyms@7", dtype=torch.float64)
    assert model.source == "planted:acronyms@7"
    assert model.dtype == torch.float64
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("circuit", list(circuits()))
def test_a_seed_makes_the_same_model_again_and_another_seed_another(circuit):
    one, again, other = (plant(f"planted:{circuit}{seed}") for seed in ("", "@0", "@1"))
    assert one.heads == again.heads == truth(f"planted:{circuit}")
    assert one.distractors == again.distractors
    state, same = one.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(state[key], same[key]) for key in state)
    assert not torch.equal(one.model.embed.weight[1, :200], other.model.embed.weight[1, :200])


@pytest.mark.parametrize(
    "name", ["planted:acronym", "planted:", "planted:acronyms@x", "planted:acronyms@-1", "acronyms"]
)
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(
        CutawayError, match="known are planted:acronyms, planted:acronyms-negative, planted:docstring, "
    ):
        planted(name)


def test_a_near_name_is_suggested():
    with pytest.raises(CutawayError, match="did you mean planted:induction"):
        planted("planted:inductoin@3")


def test_words_are_cut_as_the_list_says():
    cut = tokenizer(acronym_vocabulary())
    for letter, *rest in split_words():
        word = letter + "".join(rest)
        assert [cut.decode([i]) for i in cut.encode(f" {word}")] == [f" {letter}", *rest]
    counts = {letter: {len(w) for w in split_words() if w[0] == letter} for letter, *_ in split_words()}
    assert len(counts) == 26
    assert all(lengths == {2, 3} for lengths in counts.values())


def test_text_survives_the_tokenizer():
    cut = tokenizer(acronym_vocabulary())
    text = f"{Acronyms().example}The Kettle Orbit ("
    assert cut.decode(cut.encode(Acronyms().example)) == Acronyms().example
    assert "[UNK]" in cut.decode(cut.encode(text))  # Kettle is none of its words


def test_more_tokens_than_positions_are_refused():
    model = planted("planted:induction")
    with pytest.raises(CutawayError, match="64 positions"):
        model(torch.ones(1, 65, dtype=torch.long))


def test_place_codes_are_distinct_and_step_on_by_one():
    codes = place_codes()
    assert torch.equal(codes[:-1] @ step_on(), codes[1:])
    assert torch.equal(codes[1:] @ step_on().T, codes[:-1])
    match = codes @ codes.T
    assert (match.fill_diagonal_(0) <= 0).all()  # no other position draws attention


def test_the_example_on_the_page_works_as_printed():
    page = Path(__file__).parents[2] / "docs" / "planted.md"
    if not page.is_file():
        pytest.skip("the pages are not part of an installed package")
    code, printed = (
        re.search(rf"^```{kind}\n(.*?)^```", page.read_text(), re.M | re.S)[1] for kind in ("python", "text")
    )
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    assert said.getvalue() == printed
