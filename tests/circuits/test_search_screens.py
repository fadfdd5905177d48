"""Methods that screen by gradients: on planted models the exact step behind them finds exactly the planted heads."""

import dataclasses
import json
from functools import cache

import pytest
import torch

import cutaway
from cutaway.circuits import attribution, gradients
from cutaway.circuits.behaviors.acronyms import Acronyms
from cutaway.circuits.behaviors.acronyms import build as acronyms
from cutaway.circuits.behaviors.induction import Induction
from cutaway.circuits.behaviors.induction import build as induction
from cutaway.circuits.config import Find
from cutaway.circuits.effects import EdgeMap
from cutaway.circuits.find import find
from cutaway.circuits.graph import parse_edge
from cutaway.circuits.search import screen
from cutaway.circuits.search.atp import search as atp
from cutaway.circuits.search.atp_star import nodes, strongest_nodes
from cutaway.circuits.search.atp_star import search as atp_star
from cutaway.circuits.search.eap import search as eap
from cutaway.circuits.search.eap_ig import Integrated
from cutaway.circuits.search.eap_ig import search as eap_ig
from cutaway.circuits.search.record import Problem, methods
from cutaway.circuits.variant import head_sites
from cutaway.circuits.write import write
from cutaway.core.errors import CutawayError
from cutaway.core.runs import new_run
from cutaway.decoder import Site
from cutaway.decoder.planted import truth

from .behaviors_by_hand import random_behavior
from .cases import build

SCREENS = {"atp": atp, "atp_star": atp_star, "eap": eap, "eap_ig": eap_ig}
NAMES = ["planted:acronyms@0", "planted:acronyms@1", "planted:induction@0"]
NUMB = "planted:acronyms@0"

every_screen = pytest.mark.parametrize("method", SCREENS)


@cache
def scene(name: str) -> Problem:
    model, seed = cutaway.load(name), int(name.split("@")[1])
    if "acronyms" in name:
        return Problem(model, acronyms(model.tokenizer, Acronyms(n=6, seed=seed)))
    return Problem(model, induction(model.tokenizer, Induction(n=6, seed=seed)))


@every_screen
@pytest.mark.parametrize("name", NAMES)
def test_finds_exactly_the_planted_heads(method, name):
    problem = scene(name)
    found = SCREENS[method](problem)
    assert found.heads == set(truth(name))
    assert list(found.scores) == head_sites(problem.model)
    c = found.convention
    assert (c.kind, c.ablation, c.direction, c.n) == ("attribution", "mean", "noising", 6)
    assert c.sign == next(iter(problem.effects.values())).convention.sign


@every_screen
def test_an_approximation_never_looks_at_exact_effects(method):
    """They are handed over as something that cannot be read."""
    problem = dataclasses.replace(scene(NUMB), measured={})
    assert SCREENS[method](problem).heads == set(truth(NUMB))


@every_screen
def test_a_head_left_out_of_the_screen_is_missed(method, monkeypatch):
    """Mutation: with the ranking cut short of a planted head, the floor is out of reach; so the ranking is what is used."""
    lost = next(site for site, role in truth(NUMB).items() if role == "letter mover")
    real = screen.ranked
    monkeypatch.setattr(screen, "ranked", lambda scores: [site for site in real(scores) if site != lost])
    with pytest.raises(CutawayError, match="below the floor"):
        SCREENS[method](scene(NUMB))


@pytest.mark.parametrize("method", ["eap", "eap_ig"])
def test_edges_are_signed_and_carry_the_scores(method):
    problem = scene(NUMB)
    found = SCREENS[method](problem)
    assert methods()[method].finds == "edges"
    movers = {site for site, role in truth(NUMB).items() if role == "letter mover"}
    out = {edge: value for edge, value in found.edges.items() if edge.sender in movers and edge.receiver == "logits"}
    assert len(out) == len(movers)
    assert max(out.values()) < -0.1, "noising: an edge that helps is negative"


def test_a_head_is_worth_the_edge_that_keeps_it_in_the_graph():
    """By hand: edges in 1 and 5, out 2 and −3: cut at 3, the head has no way out; a head without an edge in is worth 0."""
    model = scene(NUMB).model
    head, other = Site(1, "z", 0), Site(2, "z", 1)
    strong = {"embed→1.0.q": 1.0, "0.3→1.0.v": 5.0, "1.0→2.1.k": 2.0, "1.0→logits": -3.0, "2.1→logits": 9.0}
    made = edge_map([parse_edge(name) for name in strong], list(strong.values()))
    scores = screen.head_scores(model, [made])
    assert (scores[head], scores[other], scores[Site(0, "z", 3)]) == (3.0, 2.0, 0.0)
    assert screen.head_scores(model, [made, made])[head] == 6.0


def edge_map(edges, values) -> EdgeMap:
    convention = scene(NUMB).convention("attribution")
    return EdgeMap(tuple(edges), ("1",), torch.tensor(values)[:, None, None], convention)


def test_the_number_of_points_is_an_option():
    one = eap_ig(scene(NUMB), Integrated(points=1))
    assert one.scores == pytest.approx(eap(scene(NUMB)).scores)
    assert one.scores != pytest.approx(eap_ig(scene(NUMB), Integrated(points=5)).scores)


def test_gradients_of_the_wrong_run_change_the_screen(monkeypatch):
    """Mutation: slopes taken at the corrupted prompt are another method's scores."""
    right = atp(scene(NUMB)).scores
    real = gradients.Contrast.gradients

    def wrong(self, sites, patches=(), shift=None):
        return real(dataclasses.replace(self, base=self.other, other=self.base), sites, patches, shift)

    monkeypatch.setattr(gradients.Contrast, "gradients", wrong)
    assert atp(scene(NUMB)).scores != pytest.approx(right, abs=0.05)


def test_star_counts_the_strongest_node_of_a_head():
    model, behavior = build("shared keys"), random_behavior(1, steps=2)

    def star(sites):
        return attribution.attribute(model, behavior, "everything", sites=sites, how=attribution.ATP_STAR)

    found = star(nodes(model.config))
    size = {site: found.of(site).abs().mean(0).sum().item() for site in found.sites}
    scores = strongest_nodes(model, [found])
    for layer, head in ((0, 0), (1, 3), (2, 1)):
        own = [Site(layer, "z", head), Site(layer, "q", head), *(Site(layer, kind, head // 2) for kind in ("k", "v"))]
        assert scores[own[0]] == pytest.approx(max(size[site] for site in own))
    alone = strongest_nodes(model, [star(head_sites(model))])
    assert any(scores[head] > 1.1 * alone[head] for head in alone)


def test_the_main_job_takes_an_approximate_method_and_writes_its_scores_and_edges(tmp_path):
    model = scene(NUMB).model
    config = Find(method="eap", n_sweep=2, n_search=4, n_verify=4, n_random=1)
    findings = find(model, acronyms(model.tokenizer, Acronyms(n=config.n_prompts)), config)
    assert findings.circuit.sites == set(truth(NUMB))
    with new_run(tmp_path / "run", config={}) as run:
        write(findings, run, model.tokenizer)
    scores = (tmp_path / "run" / "scores.csv").read_text().splitlines()
    assert len(scores) == 1 + len(head_sites(model))
    said = [line.split(",") for line in scores[1:]]
    assert [float(score) for _, score, _ in said] == sorted(findings.searched.scores.values(), reverse=True)
    assert {head for head, _, inside in said if inside == "True"} == {str(head) for head in truth(NUMB)}
    edges = (tmp_path / "run" / "edges.csv").read_text().splitlines()[1:]
    sizes = [abs(float(line.split(",")[1])) for line in edges]
    assert sizes == sorted(sizes, reverse=True)
    assert parse_edge(edges[0].split(",")[0]) in findings.searched.edges
    said = json.loads((tmp_path / "run" / "search.json").read_text())
    assert (said["method"], said["convention"]["kind"]) == ("eap", "attribution")
