"""The tables on the page are those of the committed result, and the result is what it claims to be."""

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULT = json.loads((ROOT / "benchmarks" / "results" / "known-circuits-planted.json").read_text())
PAGE = (ROOT / "docs" / "known-circuits.md").read_text()


def test_the_tables_are_the_results():
    script = runpy.run_path(str(ROOT / "benchmarks" / "known_circuits.py"))
    shown = PAGE.split("<!-- tables -->\n")[1].split("\n<!-- end of tables -->")[0]
    assert shown == script["tables"](RESULT)


def test_exact_search_is_perfect_on_at_least_fifty_models():
    assert RESULT["models"] >= 50
    lines = {line["method"]: line for line in RESULT["planted"]}
    for line in (lines["prune"], lines["greedy"]):
        assert line["auroc"] == pytest.approx({"mean": 1, "low": 1, "high": 1, "n": RESULT["models"]})
        assert line["exact"] == RESULT["models"]


def test_the_means_are_those_of_the_models():
    for line in RESULT["planted"]:
        own = [score for score in RESULT["scores"] if score["method"] == line["method"]]
        assert len(own) == RESULT["models"] == len({score["case"] for score in own})
        assert line["tpr"]["mean"] == pytest.approx(sum(score["tpr"] for score in own) / len(own), abs=1e-6)
        assert line["exact"] == sum(not (score["missed"] or score["wrong"] or score["failed"]) for score in own)
