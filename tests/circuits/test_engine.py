"""Every shortcut of the engine against the naive loop, on every decoder family; broken shortcuts are noticed."""

import dataclasses
import random
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cutaway.circuits.behavior import Behavior, Corruption
from cutaway.circuits.engine import Engine
from cutaway.circuits.isolation import Isolation
from cutaway.circuits.metrics import scorer
from cutaway.circuits.patching import sweep
from cutaway.circuits.reference import from_run, zeros
from cutaway.circuits.variant import Variant, head_sites
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Site
from cutaway.decoder.family import families
from decoder.decoders import CONFIGS
from decoder.tiny import VARIANTS

from . import naive
from .behaviors_by_hand import random_behavior
from .cases import CASES, LIMIT, build, gap
from .conftest import FAMILIES

few = partial(settings, deadline=None, suppress_health_check=list(HealthCheck))
every_build = pytest.mark.parametrize("name", CONFIGS)


def test_every_family_is_held_to_the_naive_loop():
    assert {VARIANTS[name].model_type for name in FAMILIES} == set(families())


@few(max_examples=7)
@given(case=CASES)
def test_variants_are_those_of_the_naive_loop(family_model, case):
    assert gap(family_model, case) <= LIMIT


@every_build
@few(max_examples=10)
@given(case=CASES)
def test_variants_are_those_of_the_naive_loop_however_a_layer_is_built(name, case):
    assert gap(build(name), case) <= LIMIT


# --- sweeps ----------------------------------------------------------------------------------------------------------


def naive_effects(
    model: Decoder, behavior: Behavior, corruption: str, variants: list[naive.Patched], *, direction: str
) -> Tensor:
    """logit_diff of the patched run − that of the base run, `[variant, batch, step]`; NaN where nothing is said."""
    score = scorer(behavior)
    effects = torch.full((len(variants), len(behavior), behavior.n_steps), torch.nan)
    for steps, corrupt in behavior.corruptions[corruption].runs:
        base, source = (behavior.clean, corrupt) if direction == "noising" else (corrupt, behavior.clean)
        values = naive.corrupted(model, base, source)
        before = score.logit_diff(naive.logits(model, base, score.columns))
        for i, variant in enumerate(variants):
            patched = naive.logits(model, base, score.columns, naive.patches(behavior, base, variant, values))
            effects[i][:, list(steps)] = (score.logit_diff(patched) - before)[:, list(steps)]
    return effects


def sweeps_are_the_naive_loop(model: Decoder, seed: int, direction: str, shared: int) -> None:
    """Over a random grid of outputs and inputs of heads, streams and roles, for every corruption."""
    behavior, rng = random_behavior(seed, prompts=2, steps=3, shared=shared), random.Random(seed)
    layers = range(model.config.n_layers)
    streams = [Site(i, kind) for i in layers for kind in ("mlp_out", "resid_pre", "attn_out")]
    inputs = [Site(site.layer, kind, site.head) for site in head_sites(model) for kind in ("q", "pattern")]
    shared_inputs = [Site(i, kind, h) for i in layers for kind in "kv" for h in range(model.config.n_kv_heads)]
    whole = [Site(i, kind) for i in layers for kind in ("z", "q", "k", "v", "pattern")]
    sites = [rng.choice(some) for some in (head_sites(model), streams, inputs, shared_inputs, shared_inputs, whole)]
    roles = [None, *rng.sample(behavior.roles, 2)]
    variants = [naive.Patched(frozenset([site]), role) for site in sites for role in roles]
    done = []
    for corruption in behavior.corruptions:
        effects = sweep(
            model, behavior, corruption, sites=sites, roles=roles, direction=direction, budget=60, tick=done.append
        )
        expected = naive_effects(model, behavior, corruption, variants, direction=direction)
        torch.testing.assert_close(effects.values.flatten(0, 1), expected, rtol=0, atol=LIMIT, equal_nan=True)
    # one run for each of three steps, one for all
    assert sum(done) == 4 * len(variants)


GRIDS = {
    "seed": st.integers(0, 999),
    "direction": st.sampled_from(["noising", "denoising"]),
    "shared": st.sampled_from([0, 3]),
}


@every_build
@few(max_examples=4)
@given(**GRIDS)
def test_a_sweep_is_the_naive_loop(name, seed, direction, shared):
    sweeps_are_the_naive_loop(build(name), seed, direction, shared)


@few(max_examples=2)
@given(**GRIDS)
def test_a_sweep_is_the_naive_loop_on_every_family(family_model, seed, direction, shared):
    sweeps_are_the_naive_loop(family_model, seed, direction, shared)


def test_a_step_that_a_corruption_says_nothing_about_is_nan():
    behavior = random_behavior(steps=3)
    kept = dataclasses.replace(behavior.corruptions["step by step"], runs=behavior.corruptions["step by step"].runs[1:])
    effects = sweep(build("parallel"), dataclasses.replace(behavior, corruptions={"some": kept}), "some").values
    assert effects[..., 0].isnan().all()
    assert not effects[..., 1:].isnan().any()


@every_build
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_a_run_patched_with_itself_does_not_change_at_all(name, direction):
    behavior = random_behavior(4, steps=3)
    itself = Corruption("itself", "nothing", (((0, 1, 2), behavior.clean),))
    behavior = dataclasses.replace(behavior, corruptions={"itself": itself})
    sites = [*head_sites(build(name)), Site(1, "mlp_out"), Site(2, "resid_pre")]
    effects = sweep(build(name), behavior, "itself", sites=sites, roles=(None, *behavior.roles), direction=direction)
    assert torch.equal(effects.values, torch.zeros_like(effects.values))


@every_build
def test_values_of_the_same_run_change_nothing_even_if_all_is_computed(name):
    """Without the knowledge that the runs are alike, every replacement is made, and each puts back what was there."""
    behavior, model = random_behavior(4, steps=3), build(name)
    with torch.inference_mode():
        engine = Engine(model, behavior, behavior.clean, columns=scorer(behavior).columns)
        trace = engine.trace()
        reference = from_run(engine, engine, trace)
        assert (reference.first == engine.prompts.tokens.shape[1]).all()
        everywhere = dataclasses.replace(reference, first=0)
        variants = [Variant(frozenset([Site(i, kind)])) for i in range(3) for kind in naive.KINDS]
        assert float((engine.logits(variants, everywhere, trace) - trace.logits).abs().max()) < 1e-5


def test_a_part_of_the_prompts_has_the_effects_it_has_in_the_whole():
    behavior, model = random_behavior(2, prompts=5, steps=2), build("shared keys")
    whole = sweep(model, behavior, "everything", roles=(None, "R1")).values
    for part, rows in zip(behavior.split(2, 3), (slice(0, 2), slice(2, 5)), strict=True):
        torch.testing.assert_close(
            sweep(model, part, "everything", roles=(None, "R1")).values, whole[:, :, rows], rtol=0, atol=LIMIT
        )


# --- circuits on their own -------------------------------------------------------------------------------------------


def naive_circuit(model: Decoder, behavior: Behavior, heads: set[Site], ablation: str) -> Tensor:
    corrupt = behavior.corruptions[behavior.reference].runs[0][1]
    others = Variant(frozenset(set(head_sites(model)) - heads))
    if ablation == "zero":
        values = naive.zero(model, behavior.clean)
    else:
        values = (naive.averaged if ablation == "mean" else naive.resampled)(model, behavior.clean, corrupt)
    patches, score = naive.patches(behavior, behavior.clean, others, values), scorer(behavior)
    return score.logit_diff(naive.logits(model, behavior.clean, score.columns, patches))


@few(max_examples=3)
@given(
    ablation=st.sampled_from(["mean", "resample", "zero"]),
    seed=st.integers(0, 999),
    size=st.integers(0, 9),
    shared=st.sampled_from([0, 3]),
    budget=st.sampled_from([1, 100]),
)
def test_a_circuit_on_its_own_is_the_naive_loop(family_model, ablation, seed, size, shared, budget):
    """Measured from the whole model, and from the run of a circuit near it."""
    behavior, rng = random_behavior(seed, steps=2, shared=shared), random.Random(seed)
    every = head_sites(family_model)
    base = set(rng.sample(every, size))
    circuits = [base, set(list(base)[1:]), base | {rng.choice(every)}, set(rng.sample(every, 5)), set(), set(every)]
    expected = torch.stack([naive_circuit(family_model, behavior, heads, ablation) for heads in circuits])
    isolation = Isolation(family_model, behavior, ablation=ablation, budget=budget)
    torch.testing.assert_close(isolation.scores(circuits), expected, rtol=0, atol=LIMIT)
    isolation = Isolation(family_model, behavior, ablation=ablation, budget=budget)
    for near in (base, set(every) - base, base):  # each base is run from where it parts from the last one
        isolation.base(near)
        isolation._known.clear()
        torch.testing.assert_close(isolation.scores(circuits[:4]), expected[:4], rtol=0, atol=LIMIT)
    torch.testing.assert_close(isolation.scores(circuits), expected, rtol=0, atol=LIMIT)
    torch.testing.assert_close(isolation.empty(), expected[4], rtol=0, atol=LIMIT)
    torch.testing.assert_close(isolation.full(), expected[5], rtol=0, atol=LIMIT)


def test_faithfulness_is_zero_for_nothing_and_one_for_the_whole_model():
    isolation, circuit = Isolation(build("parallel"), random_behavior(steps=2)), [Site(1, "z", 2)]
    faith = isolation.faithfulness(isolation.scores([(), isolation.every_head, circuit]))
    torch.testing.assert_close(faith[:2], torch.tensor([[0.0, 0.0], [1.0, 1.0]]), rtol=0, atol=LIMIT)
    empty, full, one = (x.mean(0) for x in (isolation.empty(), isolation.full(), isolation.scores([circuit])[0]))
    torch.testing.assert_close(faith[2], (one - empty) / (full - empty))


# --- refusals --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_patched_is_refused():
    model, behavior = build("parallel"), random_behavior()
    with pytest.raises(CutawayError, match=r"1.resid_post .*z, mlp_out, resid_pre"):
        sweep(model, behavior, "everything", sites=[Site(1, "resid_post")])
    with pytest.raises(CutawayError, match=r"9.0.*layers 0 to 2"):
        sweep(model, behavior, "everything", sites=[Site(9, "z", 0)])
    with pytest.raises(CutawayError, match=r"no role 'R9'.*example, R1"):
        sweep(model, behavior, "everything", roles=("R9",))
    with pytest.raises(CutawayError, match=r"no corruption 'all'.*step by step, everything"):
        sweep(model, behavior, "all")
    with pytest.raises(CutawayError, match=r"no metric 'logits'.*logit_diff, correct, log_prob"):
        sweep(model, behavior, "everything", metric="logits")
    with pytest.raises(Exception, match="'noise'"):  # beartype may be the first to say so
        sweep(model, behavior, "everything", direction="noise")


@pytest.mark.parametrize("site", [Site(3, "z", 0), Site(0, "z", 4), Site(0, "mlp_out"), Site(0, "z")])
def test_a_circuit_has_heads_of_the_model_only(site):
    isolation = Isolation(build("parallel"), random_behavior())
    with pytest.raises(CutawayError, match="heads of the model"):
        isolation.scores([[Site(0, "z", 0), site]])


def test_a_background_keeps_the_residual_stream():
    behavior, model = random_behavior(), build("parallel")
    background = Variant(frozenset([Site(0, "resid_pre")]))
    with torch.inference_mode():
        engine = Engine(model, behavior, behavior.clean, columns=scorer(behavior).columns)
        trace = engine.trace()
        with pytest.raises(ValueError, match="heads and MLPs only"):
            engine.logits([Variant(frozenset())], zeros(engine, trace), trace, background)


def test_an_isolation_at_rest_holds_one_run_and_goes_on():
    isolation = Isolation(build("parallel"), random_behavior(steps=2))
    isolation.base([Site(1, "z", 2)])
    before = isolation.scores([[Site(1, "z", 2)], [Site(0, "z", 1)]])
    isolation.rest()
    assert isolation._base[1] is isolation._last[1] is isolation._clean
    isolation._known.clear()
    torch.testing.assert_close(isolation.scores([[Site(1, "z", 2)], [Site(0, "z", 1)]]), before, rtol=0, atol=LIMIT)
