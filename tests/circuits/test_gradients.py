"""Attributions: exact where the model is linear, equal to each other where they must be, and broken ones are noticed."""

import pytest
import torch
from torch import Tensor

from cutaway.circuits import attribution, edge_attribution
from cutaway.circuits.attribution import ATP_STAR, attribute
from cutaway.circuits.edge_attribution import attribute_edges, completeness_gap, receiver_slopes, stream_sites
from cutaway.circuits.effects import EffectMap
from cutaway.circuits.gradients import EMBEDDING, Contrast, contrasts
from cutaway.circuits.graph import CHANNELS, EMBED, LOGITS, feeds, senders
from cutaway.circuits.metrics import scorer
from cutaway.circuits.patching import sweep
from cutaway.circuits.paths import path_patch
from cutaway.circuits.variant import head_sites
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Patch, Site
from decoder.decoders import CONFIGS

from . import naive
from .behaviors_by_hand import random_behavior
from .cases import LIMIT, build
from .linear import KINDS, linear_decoder

ROUNDING = 2e-3
"""What norms in float32 leave of a difference quotient."""

every_build = pytest.mark.parametrize("name", CONFIGS)
every_linear = pytest.mark.parametrize("kind", KINDS)


def some_sites(model: Decoder) -> list[Site]:
    return [*head_sites(model), *(Site(i, kind) for i in range(3) for kind in ("mlp_out", "resid_pre"))]


def off(ours: EffectMap, theirs: EffectMap | Tensor) -> float:
    expected = theirs.values if isinstance(theirs, EffectMap) else theirs
    assert torch.equal(ours.values.isnan(), expected.isnan())
    return float((ours.values - expected).nan_to_num().abs().max())


# --- nodes ------------------------------------------------------------------------------------------------------------


@every_linear
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_attribution_is_the_exact_effect_on_a_linear_model(kind, direction):
    model, behavior = linear_decoder(kind), random_behavior(1, steps=2, alternatives=1)
    for corruption in behavior.corruptions:
        how = {"sites": some_sites(model), "roles": (None, "R1", "A1"), "direction": direction}
        exact = sweep(model, behavior, corruption, **how)
        assert exact.values.nan_to_num().abs().max() > 1
        assert off(attribute(model, behavior, corruption, budget=30, **how), exact) < LIMIT


def test_a_flipped_sign_and_a_gradient_at_the_other_prompt_are_noticed(monkeypatch):
    model, behavior = linear_decoder("plain"), random_behavior(1, steps=2, alternatives=1)
    exact = sweep(model, behavior, "everything")
    real = Contrast.deltas
    with monkeypatch.context() as broken:
        broken.setattr(Contrast, "deltas", lambda self, sites: {site: -x for site, x in real(self, sites).items()})
        assert off(attribute(model, behavior, "everything"), exact) > 1
    # a linear model has one slope everywhere: only another model shows at which prompt the gradient was taken
    model = build("shared keys")
    right = attribute(model, behavior, "everything")
    swapped = attribute(model, behavior, "everything", direction="denoising")
    assert off(right, naive_attribution(model, behavior, "everything")) < ROUNDING
    assert float((right.values + swapped.values).abs().max()) > 0.1


def naive_attribution(model: Decoder, behavior, corruption: str, h: float = 1e-3) -> Tensor:
    """The slope of the exact effect by finite differences, one head at a time: no gradient anywhere."""
    model64 = Decoder(model.config).double()
    model64.load_state_dict(model.state_dict())
    values = torch.full((len(head_sites(model)), 1, len(behavior), behavior.n_steps), torch.nan)
    score = scorer(behavior)
    for steps, corrupt in behavior.corruptions[corruption].runs:
        put, here = naive.resampled(model64, behavior.clean, corrupt), naive.activations(model64, behavior.clean)
        for i, site in enumerate(head_sites(model)):
            old, new = (site.of(x[site.without_head()]) for x in (here, put.sites))
            ends = [
                naive.logits(model64, behavior.clean, score.columns, [Patch(site, old + t * (new - old), put.where)])
                for t in (h, -h)
            ]
            up, down = (score.logit_diff(logits) for logits in ends)
            values[i, 0][:, list(steps)] = ((up - down) / (2 * h)).float()[:, list(steps)]
    return values


@every_build
def test_attribution_is_the_slope_of_the_exact_effect(name):
    behavior = random_behavior(3, prompts=2, steps=2)
    for corruption in behavior.corruptions:
        ours = attribute(build(name), behavior, corruption)
        assert off(ours, naive_attribution(build(name), behavior, corruption)) < ROUNDING


def test_metrics_without_a_gradient_and_unknown_corruptions_are_one_line():
    behavior = random_behavior()
    with pytest.raises(CutawayError, match="no useful gradient"):
        attribute(build("parallel"), behavior, "everything", metric="correct")
    with pytest.raises(CutawayError, match="no corruption"):
        attribute(build("parallel"), behavior, "nothing")


# --- AtP* -------------------------------------------------------------------------------------------------------------


def queries_and_keys(model: Decoder, layer: int) -> list[Site]:
    counts = {"q": model.config.n_heads, "k": model.config.n_kv_heads}
    return [Site(layer, kind, head) for kind, count in counts.items() for head in range(count)]


def moving(kind: str) -> Decoder:
    """The linear decoder with attention that moves in the first layer, so that all above it is linear."""
    model = linear_decoder(kind)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(5)
        weight = model.layers[0].q.weight
        weight.copy_(2 * torch.randn(weight.shape, generator=draw))
    return model


@pytest.mark.parametrize("kind", ["plain", "shared values"])
def test_the_qk_fix_is_exact_where_all_above_the_softmax_is_linear(kind):
    model = moving(kind)
    sites = queries_and_keys(model, 0)
    fixed = attribution.Estimate(
        lambda *scene: iter([next(attribution.ATP_STAR.readings(*scene))]), attribution.ATP.combine
    )
    for shared in (0, 3):
        behavior = random_behavior(2, steps=2, alternatives=1, shared=shared)
        exact = naive_qk(model, behavior, sites)
        assert off(attribute(model, behavior, "everything", sites=sites, how=fixed), exact) < LIMIT
        assert off(attribute(model, behavior, "everything", sites=sites), exact) > 0.1


def naive_qk(model: Decoder, behavior, sites: list[Site]) -> Tensor:
    """The exact effect of patching queries or keys, one pass each."""
    score, values = scorer(behavior), torch.full((len(sites), 1, len(behavior), behavior.n_steps), torch.nan)
    ((_, corrupt),) = behavior.corruptions["everything"].runs
    before = score.logit_diff(naive.logits(model, behavior.clean, score.columns))
    other = model.run(corrupt.tokens, mask=corrupt.mask, capture=sites).sites
    assert torch.equal(corrupt.slots, behavior.clean.slots)
    for i, site in enumerate(sites):
        patched = naive.logits(model, behavior.clean, score.columns, [Patch(site, other[site])])
        values[i, 0] = (score.logit_diff(patched) - before).float()
    return values


def test_a_dropped_layer_passes_no_gradient_and_changes_no_value():
    model, behavior = build("learned positions"), random_behavior(1, steps=2)
    ((_, contrast),) = contrasts(model, behavior, "everything")
    sites = [Site(layer, "z") for layer in range(3)]
    whole, dropped = contrast.gradients(sites), contrast.gradients(sites, attribution._stopped(1))
    assert torch.equal(whole.score, dropped.score)
    assert not dropped.slopes[sites[1]].any()
    torch.testing.assert_close(dropped.slopes[sites[2]], whole.slopes[sites[2]])
    assert float((dropped.slopes[sites[0]] - whole.slopes[sites[0]]).abs().max()) > 0.01


def test_dropping_is_averaged_over_the_layers_that_can_differ():
    """In a model whose last layers pass nothing on, every drop but a head's own leaves the estimate as it is."""
    model, behavior = linear_decoder("plain"), random_behavior(1, steps=2, alternatives=1)
    with torch.no_grad():
        for layer in model.layers:
            layer.v.weight.zero_() if layer.index else None
            layer.down.weight.zero_()
    sites = [site for site in head_sites(model) if site.layer == 0]
    plain, star = (attribute(model, behavior, "everything", sites=sites, how=how) for how in (None, ATP_STAR))
    assert plain.values.abs().max() > 0.1
    assert off(plain, star) < LIMIT


# --- edges ------------------------------------------------------------------------------------------------------------


@every_linear
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_edge_attribution_is_the_exact_path_patch_on_a_linear_model(kind, direction):
    model, behavior = linear_decoder(kind), random_behavior(7, prompts=2, steps=2, alternatives=1)
    for corruption in behavior.corruptions:
        found = attribute_edges(model, behavior, corruption, direction=direction)
        exact = path_patch(model, behavior, corruption, direction=direction)
        assert found.edges == exact.edges
        torch.testing.assert_close(found.values, exact.values, rtol=0, atol=LIMIT, equal_nan=True)
        assert exact.values.nan_to_num().abs().max() > 0.1


def nodes(model: Decoder) -> list[Site]:
    return [EMBEDDING if sender == EMBED else sender for sender in senders(model.config)]


@every_build
@pytest.mark.parametrize("direction", ["noising", "denoising"])
def test_the_edges_out_of_a_sender_sum_to_its_attribution(name, direction):
    model, behavior = build(name), random_behavior(5, steps=2)
    for corruption in behavior.corruptions:
        found = attribute_edges(model, behavior, corruption, direction=direction, budget=20)
        whole = attribute(model, behavior, corruption, sites=nodes(model), direction=direction)
        for sender, node in zip(senders(model.config), nodes(model), strict=True):
            out = found.values[[i for i, edge in enumerate(found.edges) if edge.sender == sender]].sum(0)
            torch.testing.assert_close(out, whole.of(node), rtol=0, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", [name for name in CONFIGS if not CONFIGS[name].post_norms])
def test_the_edges_into_a_receiver_sum_to_the_attribution_of_its_whole_input(name):
    model, behavior = build(name), random_behavior(6, steps=2)
    found = attribute_edges(model, behavior, "everything")
    ((_, contrast),) = contrasts(model, behavior, "everything")
    streams = contrast.deltas(stream_sites(model))
    for receivers, slopes in receiver_slopes(contrast, contrast.gradients(stream_sites(model))):
        for receiver, slope in zip(receivers, slopes, strict=True):
            total = (input_of(model, receiver, streams) * slope).sum((-1, -2)).T
            into = found.values[[i for i, edge in enumerate(found.edges) if edge.receiver == receiver]].sum(0)
            torch.testing.assert_close(into, total, rtol=0, atol=1e-4)


def input_of(model: Decoder, receiver, deltas: dict[Site, Tensor]) -> Tensor:
    """How the stream that a receiver reads differs between the prompts."""
    if receiver == LOGITS:
        return deltas[Site(2, "resid_post")]
    before = deltas[Site(receiver.layer, "resid_pre")]
    if receiver.kind in CHANNELS or model.config.parallel:
        return before
    return before + deltas[Site(receiver.layer, "attn_out")]


def test_a_sender_or_receiver_left_out_or_in_the_wrong_place_is_noticed(monkeypatch):
    """The sums above miss an edge too many or too few: here attention feeds its own layer's MLP, or does not."""
    model, behavior = build("parallel"), random_behavior(5, steps=2)
    whole = attribute(model, behavior, "everything")
    serial = build("learned positions").config
    monkeypatch.setattr(
        edge_attribution,
        "edges",
        lambda config: [edge for edge in every_pair(model) if feeds(*edge_ends(edge), serial)],
    )
    found = attribute_edges(model, behavior, "everything")
    out = found.values[[i for i, edge in enumerate(found.edges) if edge.sender == Site(0, "z", 0)]].sum(0)
    assert float((out - whole.of(Site(0, "z", 0))).abs().max()) > 1e-3


def every_pair(model: Decoder):
    from cutaway.circuits.graph import Edge, receivers

    return [Edge(s, r) for s in senders(model.config) for r in receivers(model.config)]


def edge_ends(edge):
    return edge.sender, edge.receiver


# --- integrated gradients ---------------------------------------------------------------------------------------------


@every_build
def test_the_completeness_gap_shrinks_with_the_points(name):
    model, behavior = build(name), random_behavior(4, prompts=2, steps=2)
    gaps = [
        float(completeness_gap(model, attribute_edges(model, behavior, "everything", points=n), behavior).abs().max())
        for n in (1, 8, 64)
    ]
    assert gaps[2] < 0.2 * gaps[0]
    assert gaps[2] < gaps[1]


@every_linear
def test_there_is_no_gap_on_a_linear_model_at_any_number_of_points(kind):
    model, behavior = linear_decoder(kind), random_behavior(4, steps=2, alternatives=1)
    one, five = (attribute_edges(model, behavior, "everything", points=n) for n in (1, 5))
    torch.testing.assert_close(one.values, five.values, rtol=0, atol=LIMIT)
    assert float(completeness_gap(model, five, behavior).abs().max()) < LIMIT


def test_zero_points_are_one_line():
    with pytest.raises(CutawayError, match="at least 1"):
        attribute_edges(build("parallel"), random_behavior(), "everything", points=0)
