"""Cut edges are path patches, cut senders are node patches; pruning backwards finds planted heads and their wiring."""

import random
from functools import cache

import pytest
import torch

import cutaway
from cutaway.circuits import cutting
from cutaway.circuits.behaviors.acronyms import Acronyms
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.behaviors.induction import Induction
from cutaway.circuits.behaviors.induction import build as induction
from cutaway.circuits.cutting import Cutting
from cutaway.circuits.gradients import EMBEDDING, contrasts
from cutaway.circuits.graph import EMBED, edges, heads_in
from cutaway.circuits.patching import sweep
from cutaway.circuits.paths import path_patch
from cutaway.circuits.search.acdc import Acdc, search
from cutaway.circuits.search.record import Problem
from cutaway.circuits.variant import head_sites
from cutaway.core.errors import CutawayError
from cutaway.decoder import Decoder
from cutaway.decoder.planted import truth
from decoder.decoders import CONFIGS

from .behaviors_by_hand import random_behavior
from .cases import LIMIT, build

every_build = pytest.mark.parametrize("name", [name for name in CONFIGS if not CONFIGS[name].post_norms])


@cache
def scene(name: str) -> Problem:
    model, seed = cutaway.load(name), int(name.split("@")[1])
    make, options = (acronyms, Acronyms) if "acronyms" in name else (induction, Induction)
    return Problem(model, make(model.tokenizer, options(n=6, seed=seed)))


def cut(model: Decoder, behavior, metric: str = "logit_diff") -> Cutting:
    ((_, contrast),) = contrasts(model, behavior, behavior.reference, metric=metric)
    return Cutting(contrast)


# --- cutting ----------------------------------------------------------------------------------------------------------


def edge_gap(name: str) -> float:
    model, behavior = build(name), random_behavior(2, steps=2)
    every = edges(model.config)
    some = random.Random(1).sample(every, 25)
    made = cut(model, behavior)
    ours = torch.stack([made.score([edge]) - made.clean for edge in some])
    return float((ours - path_patch(model, behavior, "everything", edges=some).values).abs().max())


@every_build
def test_one_edge_cut_is_its_path_patched(name):
    assert edge_gap(name) <= LIMIT


@every_build
def test_all_edges_out_of_a_node_cut_is_the_node_patched(name):
    model, behavior = build(name), random_behavior(2, steps=2)
    made, whole = cut(model, behavior), sweep(model, behavior, "everything", sites=[EMBEDDING, *head_sites(model)])
    for sender in (EMBED, *random.Random(0).sample(head_sites(model), 4)):
        out = [edge for edge in edges(model.config) if edge.sender == sender]
        effect = whole.of(EMBEDDING if sender == EMBED else sender)
        torch.testing.assert_close(made.score(out) - made.clean, effect, rtol=0, atol=LIMIT)


@every_build
def test_with_all_edges_cut_the_answer_is_that_of_the_other_prompt(name):
    model, behavior = build(name), random_behavior(2, steps=2)
    made = cut(model, behavior)
    patched = made.clean + sweep(model, behavior, "everything", sites=[EMBEDDING]).of(EMBEDDING)
    torch.testing.assert_close(made.score(edges(model.config)), patched, rtol=0, atol=LIMIT)
    assert torch.equal(made.score([]), made.clean)


def test_a_cut_in_the_wrong_place_is_noticed(monkeypatch):
    """Mutation: what a sender lacks has the wrong sign."""
    real = cutting._cut
    monkeypatch.setattr(cutting, "_cut", lambda rows, lacking: -real(rows, lacking))
    assert edge_gap("shared keys") > 10 * LIMIT


# --- the search -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", ["heads", "edges"])
@pytest.mark.parametrize("name", ["planted:acronyms@0", "planted:induction@1"])
def test_finds_exactly_the_planted_heads(name, over):
    found = search(scene(name), Acdc(edges=over == "edges"))
    assert found.heads == set(truth(name))
    assert list(found.scores) == head_sites(scene(name).model)
    outside = max(score for head, score in found.scores.items() if head not in found.heads)
    assert outside < 0.01 <= min(found.scores[head] for head in found.heads)
    assert found.convention.ablation == {"heads": "mean", "edges": "resample"}[over]


def test_the_edges_left_are_the_planted_wiring():
    name = "planted:acronyms@0"
    found, role = search(scene(name), Acdc(edges=True)), truth(name)
    ends = {(role.get(edge.sender, str(edge.sender)), edge.receiver) for edge in found.edges}
    movers = [head for head, what in role.items() if what == "letter mover"]
    ask = {("positional", f"{head}.q") for head in movers} | {("letter mover", "logits")}
    assert ask <= {(sender, str(receiver)) for sender, receiver in ends}
    assert heads_in(found.edges, scene(name).model.config) == found.heads
    assert all(value < 0 for value in found.edges.values()), "each edge left helps: without it the metric falls"


def test_a_threshold_of_everything_keeps_nothing_and_none_keeps_what_moves_at_all():
    problem = scene("planted:induction@1")
    assert search(problem, Acdc(threshold=10.0)).heads == frozenset()
    assert search(problem, Acdc(threshold=10.0, edges=True)).edges == {}
    assert search(problem, Acdc(threshold=-10.0)).heads == frozenset(head_sites(problem.model))


def test_what_cannot_be_done_is_one_line():
    problem = Problem(build("second norms"), random_behavior())
    with pytest.raises(CutawayError, match="search over heads"):
        search(problem, Acdc(edges=True))
