"""Path patching against a naive loop: one whole pass to note what the receiver puts out, one whole pass to put it in."""

import random
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cutaway.circuits import graph, paths
from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.circuits.graph import CHANNELS, EMBED, LOGITS, Edge, parse_edge
from cutaway.circuits.metrics import scorer
from cutaway.circuits.patching import sweep
from cutaway.circuits.paths import path_patch
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder, Patch, Site
from decoder.decoders import CONFIGS

from . import naive
from .behaviors_by_hand import random_behavior
from .cases import LIMIT, build

few = partial(settings, deadline=None, suppress_health_check=list(HealthCheck))
every_build = pytest.mark.parametrize("name", CONFIGS)


def naive_path(
    model: Decoder, base: Prompts, values: naive.Values, columns: Tensor, edge: Edge, through_mlps: bool
) -> Tensor:
    """Logits `[batch, step, column]` with one edge patched: two whole passes, everything held by patches."""
    n = model.config.n_layers
    held = [Site(layer, "z") for layer in range(n)]
    held += [] if through_mlps else [Site(layer, "mlp_out") for layer in range(n)]
    if edge.receiver in held:
        held.remove(edge.receiver)  # an MLP that is to show what it puts out
    here = model.run(base.tokens, mask=base.mask, capture=held).sites
    sender = Site(0, "resid_pre") if edge.sender == EMBED else edge.sender
    put = Patch(sender, sender.of(values.sites[sender.without_head()]), values.where)
    first = [*(Patch(site, here[site]) for site in held if site != sender), put]
    if edge.receiver == LOGITS:
        return naive.logits(model, base, columns, first)
    noted = model.run(base.tokens, mask=base.mask, capture=[edge.receiver], patches=first).sites[edge.receiver]
    return naive.logits(model, base, columns, [Patch(edge.receiver, noted)])


def naive_paths(model: Decoder, behavior: Behavior, corruption: str, edges, *, through_mlps: bool, direction: str):
    score = scorer(behavior)
    effects = torch.full((len(edges), len(behavior), behavior.n_steps), torch.nan)
    for steps, corrupt in behavior.corruptions[corruption].runs:
        base, source = (behavior.clean, corrupt) if direction == "noising" else (corrupt, behavior.clean)
        values = naive.resampled(model, base, source)
        before = score.logit_diff(naive.logits(model, base, score.columns))
        for i, edge in enumerate(edges):
            patched = naive_path(model, base, values, score.columns, edge, through_mlps)
            effects[i][:, list(steps)] = (score.logit_diff(patched) - before)[:, list(steps)]
    return effects


def some_edges(model: Decoder, rng: random.Random, n: int = 12) -> list[Edge]:
    """Some of every kind of receiver, and from the embedding, heads and MLPs alike."""
    every, found = graph.edges(model.config), []
    for kind in ("logits", "mlp_out", *CHANNELS):
        alike = [edge for edge in every if (edge.receiver if edge.receiver == LOGITS else edge.receiver.kind) == kind]
        for sender in ("embed", "z", "mlp_out"):
            fit = [edge for edge in alike if (edge.sender if edge.sender == EMBED else edge.sender.kind) == sender]
            found.append(rng.choice(fit))
    return rng.sample(found, n)


def gap(model: Decoder, seed: int, through_mlps: bool, direction: str, shared: int) -> float:
    behavior, rng = random_behavior(seed, prompts=2, steps=2, shared=shared), random.Random(seed)
    edges, worst = some_edges(model, rng), 0.0
    for corruption in behavior.corruptions:
        how = {"through_mlps": through_mlps, "direction": direction}
        ours = path_patch(model, behavior, corruption, edges=edges, budget=rng.choice([20, 4096]), **how)
        expected = naive_paths(model, behavior, corruption, edges, **how)
        assert ours.edges == tuple(edges)
        assert torch.equal(ours.values.isnan(), expected.isnan())
        worst = max(worst, float((ours.values - expected).nan_to_num().abs().max()))
    return worst


SCENES = {
    "seed": st.integers(0, 9999),
    "through_mlps": st.booleans(),
    "direction": st.sampled_from(["noising", "denoising"]),
    "shared": st.sampled_from([0, 3]),
}


@every_build
@few(max_examples=4)
@given(**SCENES)
def test_paths_are_those_of_the_naive_loop_however_a_layer_is_built(name, seed, through_mlps, direction, shared):
    assert gap(build(name), seed, through_mlps, direction, shared) <= LIMIT


@few(max_examples=2)
@given(**SCENES)
def test_paths_are_those_of_the_naive_loop_in_every_family(family_model, seed, through_mlps, direction, shared):
    assert gap(family_model, seed, through_mlps, direction, shared) <= LIMIT


@every_build
def test_every_edge_of_a_model_in_one_go(name):
    model, behavior = build(name), random_behavior(1, prompts=2, steps=1)
    every, done = graph.edges(model.config), []
    found = path_patch(model, behavior, "everything", tick=done.append)
    assert found.edges == tuple(every)
    assert sum(done) == len(every)
    some = random.Random(0).sample(range(len(every)), 20)
    expected = naive_paths(
        model, behavior, "everything", [every[i] for i in some], through_mlps=False, direction="noising"
    )
    torch.testing.assert_close(found.values[some], expected, rtol=0, atol=LIMIT)
    assert found.values.abs().max() > 0.01


def test_the_edge_from_the_last_mlp_to_the_logits_is_all_that_this_mlp_does():
    model, behavior = build("learned positions"), random_behavior(1, steps=2)
    edge = parse_edge("m2→logits")
    path = path_patch(model, behavior, "everything", edges=[edge])
    whole = sweep(model, behavior, "everything", sites=[edge.sender])
    torch.testing.assert_close(path.of(edge), whole.of(edge.sender), rtol=0, atol=1e-5)


def test_broken_path_patching_is_noticed(monkeypatch):
    """An MLP of the own layer that is not fed, a second norm forgotten, keys and values confused, MLPs not held."""
    scene = {"seed": 3, "through_mlps": True, "direction": "noising", "shared": 3}
    assert gap(build("second norms"), **scene) <= LIMIT
    with monkeypatch.context() as broken:
        broken.setattr(paths, "_attn_out", lambda layer, written: written)
        assert gap(build("second norms"), **scene) > 10 * LIMIT
    with monkeypatch.context() as broken:
        real = paths.Stream._attend

        def confused(self, layer, added, channel):
            return real(self, layer, added, "v" if channel == "k" else channel)

        broken.setattr(paths.Stream, "_attend", confused)
        assert gap(build("shared keys"), **scene) > 10 * LIMIT
    with monkeypatch.context() as broken:
        broken.setattr(
            paths.Stream,
            "of",
            classmethod(lambda cls, a, b, through: cls(a, a.trace(), paths.from_run(a, b, b.trace()), False)),
        )
        assert gap(build("parallel"), **scene) > 10 * LIMIT


def test_edges_that_are_not_there_are_one_line():
    model, behavior = build("parallel"), random_behavior()
    for name, said in {
        "1.0→m1": "later receiver",
        "1.0→1.1.q": "later receiver",
        "9.0→logits": "layers 0 to 2",
    }.items():
        with pytest.raises(CutawayError, match=said):
            path_patch(model, behavior, "everything", edges=[parse_edge(name)])
    assert path_patch(build("shared keys"), behavior, "everything", edges=[parse_edge("1.0→m1")]).values.shape[0] == 1
