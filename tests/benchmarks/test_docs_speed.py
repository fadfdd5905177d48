"""The tables of the page and of the README are those of the committed results, in which all values agree."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"


@pytest.fixture
def script():
    import circuits_speed

    return circuits_speed


@pytest.fixture
def results(script) -> list[dict]:
    return [json.loads(file.read_text()) for file in script.COMMITTED]


def between(page: str, name: str) -> str:
    return page.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- end of {name} -->")[0]


def test_the_tables_are_the_results(script, results):
    assert between((ROOT / "docs" / "speed.md").read_text(), "speed table") == script.markdown(results)
    assert between((ROOT / "README.md").read_text(), "speed table") == script.short(results)


def test_every_value_agrees_with_every_peer(script, results):
    for result in results:
        assert script.unequal(result) == []
        for found in result["models"].values():
            for row in found["grids"].values():
                assert {peer for peer, told in row["peers"].items() if "equal" in told} == set(row["peers"])


def test_medians_are_of_three_repeats_or_more(results):
    assert all(result["repeats"] >= 3 for result in results)
