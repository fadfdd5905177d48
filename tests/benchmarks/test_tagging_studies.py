"""The tables of the docs are those of the committed results, and cells were measured with the settings that the scripts name."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from cutaway.core.configs import table
from cutaway.tagging.paper import CONLL_2003
from docs_marks import shown

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"


def test_entities():
    import tagging_entities as script

    cells = json.loads(script.RESULT.read_text())["cells"]
    assert shown("entities table", "tagging") == script.markdown(cells)
    for name, cell in cells.items():
        data, system, seed = name.split(" | ")
        base = script.SYSTEMS[system]
        config = replace(base, training=replace(base.training, seed=int(seed)))
        assert cell["config"] == json.loads(json.dumps(table(config))), name
        if data == "wnut17":
            assert cell["test"]["n"] == 1287
    seeds = Counter(tuple(name.split(" | ")[:2]) for name in cells)
    assert sum(data == "wnut17" and n == 3 for (data, _), n in seeds.items()) >= 8


def test_active_learning():
    import tagging_active as script

    found = json.loads(script.RESULT.read_text())["curves"]
    assert shown("active table", "tagging") == script.markdown(found)
    assert all(len(found[way]) == 3 for way in script.WAYS)


def test_eight_bits():
    import tagging_int8 as script

    assert shown("int8 table", "tagging") == script.markdown(json.loads(script.RESULT.read_text())["cells"])


def test_the_surveys_rows():
    rows = [line.split(" | ") for line in shown("survey table", "tagging-parts").splitlines()[2:]]
    assert [row[0].removeprefix("| ") for row in rows] == [row.system for row in CONLL_2003]
    assert [float(row[-1].removesuffix(" |")) for row in rows] == [row.f1 for row in CONLL_2003]


def test_a_gazetteer_of_nell_has_types_and_names_and_nothing_that_is_no_name(tmp_path):
    import nell_gazetteer

    (tmp_path / "entity2id.txt").write_text(
        "5\nconcept_city_new_york\t0\nconcept_person_mike_darwin\t1\nconcept_person_jackie001\t2\nconcept_insect_bees\t3\n"
        "9.9,-84.3\t4\n"
    )
    assert nell_gazetteer.lines(tmp_path / "entity2id.txt") == [
        "family name\tdarwin", "given name\tmike", "person\tjackie", "person\tmike darwin", "place\tnew york",
    ]  # fmt: skip
