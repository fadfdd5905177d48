"""The house keeps its own rules: everything discovered has a source, a docs row and a test; files stay readable."""

import re
from pathlib import Path

import pytest

from cutaway.circuits.behaviors import behavior_recipes
from cutaway.circuits.search.record import methods
from cutaway.decoder.family import families
from cutaway.tagging.parts import contexts, decoders, inputs
from cutaway.tuning.method import methods as tuning_methods

ROOT = Path(__file__).parents[1]
DOCS = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
TESTS = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("*.py")) if path.name != "test_house.py")
SOURCES = sorted((ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("record", [*methods().values(), *behavior_recipes().values()], ids=lambda record: record.name)
def test_every_method_and_behaviour_has_a_citation_a_docs_row_and_a_test(record):
    assert re.search(r"(19|20)\d\d", record.citation), "no year in the citation"
    assert f"| `{record.name}` |" in DOCS, "no row in a table of the docs"
    module = (record.search if hasattr(record, "search") else record.build).__module__
    assert module in TESTS, "no test imports it"


PARTS = {"inputs": inputs(), "contexts": contexts(), "decoders": decoders()}


@pytest.mark.parametrize(("axis", "name"), [(axis, name) for axis, parts in PARTS.items() for name in parts])
def test_every_part_of_a_tagger_has_a_citation_a_docs_row_and_a_test(axis, name):
    assert re.search(r"(19|20)\d\d", PARTS[axis][name].citation), "no year in the citation"
    assert f"| `{name}` |" in DOCS, "no row in a table of the docs"
    imported = rf"from cutaway\.tagging\.{axis}(\.{name} import| import [^\n]*\b{name}\b)"
    assert re.search(imported, TESTS), "no test imports it"


@pytest.mark.parametrize("name", tuning_methods())
def test_every_tuning_method_has_a_citation_a_docs_row_and_a_test(name):
    assert re.search(r"(19|20)\d\d", tuning_methods()[name].citation), "no year in the citation"
    assert f"| `{name}` |" in DOCS, "no row in a table of the docs"
    imported = rf"from cutaway\.tuning\.methods(\.{name} import| import [^\n]*\b{name}\b)"
    assert re.search(imported, TESTS), "no test imports it"


@pytest.mark.parametrize("kind", sorted(families()))
def test_every_family_is_tested_and_documented(kind):
    assert kind.split("_")[0] in TESTS.lower()
    assert families()[kind].name.split(",")[0].split(" ")[0].lower() in DOCS.lower()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_files_are_short_and_say_what_they_are(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert text.startswith('"""')
    assert path.name != "utils.py"
    assert "import *" not in text
    assert "_description_" not in text
    assert ".cuda()" not in text
    assert "import pickle" not in text
    for call in re.findall(r"torch\.load\((.*)\)", text):
        assert "weights_only=True" in call


def test_the_rules_above_can_be_broken():
    """A record without a year, and a torch.load without its guard, would be noticed."""
    assert not re.search(r"(19|20)\d\d", "somebody, somewhere")
    assert re.findall(r"torch\.load\((.*)\)", "x = torch.load(path)") == ["path"]
