"""Published circuits as data: every record is whole, fits its model, and names its source."""

import re
from pathlib import Path

import pytest

from cutaway import CutawayError, Site
from cutaway.circuits import paper
from cutaway.circuits.behaviors import behavior_recipes
from cutaway.circuits.behaviors.choose import _options
from cutaway.circuits.known import known_circuit, known_circuits

PAGE = (Path(__file__).parents[2] / "docs" / "known-circuits.md").read_text()


@pytest.mark.parametrize("record", known_circuits().values(), ids=lambda record: record.name)
def test_a_record_is_whole(record):
    heads = [head for group in record.roles.values() for head in group]
    assert len(set(heads)) == len(heads) == len(record.heads)
    layers, width = record.shape
    assert all(site.kind == "z" and site.layer < layers and site.head < width for site in record.heads)
    assert re.search(r"(19|20)\d\d", record.citation)
    assert len(record.certainty) > 80
    assert f"| `{record.name}` |" in PAGE
    recipe = behavior_recipes()[record.behavior]
    assert set(_options(record.options, recipe.config(), record.behavior)) <= {*vars(recipe.config())}


def test_what_is_published():
    ioi = known_circuit("ioi")
    assert len(ioi.heads) == 26
    assert len(ioi.roles) == 7
    assert ioi.heads[Site(9, "z", 9)] == "name mover"
    assert len(known_circuit("acronyms").heads) == 8
    assert {str(site) for site in known_circuit("acronyms").heads} == set(paper.CIRCUIT)
    assert len(known_circuit("docstring").heads) == 8
    assert len(known_circuit("greater_than").heads) == 10


def test_prompts_of_the_acronym_record_are_of_the_papers_form(gpt2):
    record = known_circuit("acronyms")
    recipe = behavior_recipes()["acronyms"]
    behavior = recipe.build(gpt2, recipe.config(n=16, **_options(record.options, recipe.config(), "acronyms")))
    assert behavior.clean.tokens.shape == (16, 11)
    assert behavior.roles == ("BOS", "The", "C1", "T1", "C2", "T2", "C3", "T3", "(", "A1", "A2")


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(CutawayError, match=r"no known circuit 'acronym'.*did you mean acronyms"):
        known_circuit("acronym")
