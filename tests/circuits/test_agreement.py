"""Estimates beside exact effects: by hand, on a linear model where they are one, and on a planted one where they are not."""

from functools import cache

import matplotlib
import pytest
import torch

import cutaway
from cutaway.circuits import agreement as file
from cutaway.circuits import figures
from cutaway.circuits.agreement import Agreement, Point, agreement, correlation, measures, ranks, scatter
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.search.record import Problem, method
from cutaway.core.errors import CutawayError

from .behaviors_by_hand import random_behavior
from .linear import linear_decoder

ESTIMATES = ("atp", "atp_star", "eap", "eap_ig")


@cache
def planted() -> Problem:
    model = cutaway.load("planted:acronyms@0")
    return Problem(model, build(model.tokenizer, Acronyms(n=6)))


@cache
def straight() -> Problem:
    return Problem(linear_decoder("plain"), random_behavior(1, steps=2, alternatives=1))


@pytest.mark.parametrize("name", ["atp", "eap", "eap_ig"])
def test_on_a_linear_model_all_is_one(name):
    found = agreement(straight(), method(name), edges=20 * (name != "atp"))
    assert len(found.heads) == 12 * 2
    for kind, numbers in found.summary().items():
        assert numbers["pearson"] == pytest.approx(1, abs=1e-6), kind
        assert numbers["spearman"] == pytest.approx(1, abs=1e-6), kind
        assert numbers["top"] == 1, kind
    for p in (*found.heads, *found.edges):
        assert p.estimate == pytest.approx(p.exact, abs=1e-4)


def test_a_flipped_sign_is_noticed(monkeypatch):
    real = file._of_heads
    monkeypatch.setattr(file, "_of_heads", lambda problem, found: -real(problem, found))
    assert agreement(straight(), method("atp")).summary()["heads"]["pearson"] == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("name", ESTIMATES)
def test_every_head_token_and_corruption_that_was_measured_has_a_point(name):
    problem = planted()
    found = agreement(problem, method(name))
    measured = sum(int((~m.values[:, 0, 0].isnan()).sum()) for m in problem.effects.values())
    assert len(found.heads) == measured
    assert 0 < found.summary()["heads"]["spearman"] < 1
    assert found.convention.kind == "attribution"
    c = next(iter(problem.effects.values())).convention
    assert (found.convention.sign, found.convention.direction) == (c.sign, c.direction)


def test_edges_are_the_strongest_and_some_others():
    found = agreement(planted(), method("eap_ig"), edges=6)
    parts = {(p.corruption, p.part) for p in found.edges}
    assert len(parts) == 3 * 6
    assert any(p.part.endswith("→logits") and p.exact < -1 for p in found.edges)
    assert agreement(planted(), method("eap_ig"), edges=6).edges == found.edges
    assert agreement(planted(), method("atp"), edges=6).edges == ()


def test_numbers_by_hand():
    assert ranks(torch.tensor([3.0, 1.0, 3.0, 7.0])).tolist() == [2.5, 1.0, 2.5, 4.0]
    assert correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 7.0])) == pytest.approx(0.9933993)
    pairs = {"0.0": (-4.0, -1.0), "0.1": (2.0, 3.0), "0.2": (1e-6, 2.0), "0.3": (0.0, 1e-7)}
    points = [Point(part, "c", "1", *pair) for part, pair in pairs.items()]
    numbers = measures([*points, Point("0.1", "c", "2", -1.0, 0.0)])
    # sizes 4, 3, 0, 0 and 1, 3, 2, 0: two heads matter, and the estimate puts 0.1 and 0.2 on top
    assert (numbers["n"], numbers["parts"], numbers["top"]) == (5, 4, 0.5)
    assert numbers["spearman"] == pytest.approx(
        correlation(torch.tensor([4.0, 3, 1.5, 1.5]), torch.tensor([2.0, 4, 3, 1]))
    )


def test_what_is_written_names_where_they_differ_most():
    found = agreement(planted(), method("atp"))
    worst = max(found.heads, key=lambda p: abs(p.exact - p.estimate))
    said = found.to_dict()
    assert said["largest"]["heads"][0] == vars(worst)
    assert said["summary"] == found.summary()
    assert len(found.rows()) == len(found.heads)


def test_exact_methods_have_nothing_to_compare():
    with pytest.raises(CutawayError, match="estimates no effects"):
        agreement(planted(), method("prune"))


def test_the_figure_has_a_panel_for_each_corruption_and_names_what_is_large():
    found: Agreement = agreement(planted(), method("eap"), edges=6)
    with matplotlib.rc_context(figures.STYLE):
        figure = scatter(found)
        assert [axis.get_title(loc="left") for axis in figure.axes] == [
            f"{kind}: {name}"
            for kind in ("heads", "edges")
            for name in ("current word", "previous words", "previous letters")
        ]
        named = {text.get_text() for text in figure.axes[0].texts}
        strongest = max(found.heads, key=lambda p: abs(p.exact) * (p.corruption == "current word"))
        assert strongest.part in named
        assert len(named) == 2, "the two movers; heads without an effect go unnamed"
