"""The page on comparing says what the committed comparison found."""

import json
import sys
from pathlib import Path

import pytest

from cutaway.circuits.compare.cross import _drawn
from cutaway.decoder import Site, parse_site

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compare.md"
RESULT = ROOT / "benchmarks" / "results" / "compare-seeds-smollm2-135m.json"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the pages are not part of an installed package")


@pytest.fixture
def found() -> dict:
    return json.loads(RESULT.read_text())


@pytest.fixture
def said() -> str:
    return " ".join(PAGE.read_text().split())


def test_the_table_is_the_committed_one(found, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    from condense_comparison import kept_table

    table = PAGE.read_text().split("<!-- kept -->\n")[1].split("\n<!-- end of kept -->")[0]
    assert table == kept_table(found)


def test_heads_in_the_text_are_those_found(found, said):
    (both,) = found["overlaps"]
    sizes = [len(run["circuit"]) for run in found["runs"]]
    assert f"finds {sizes[0]} heads with one seed and {sizes[1]} with the other" in said
    assert f"{both['shared']} of the {both['union']} in either" in said
    assert f"Jaccard index {both['jaccard']:.0%}; {both['expected']:.0%} by chance".replace("%", " %") in said
    assert both["same_role"] == both["shared"]
    (table,) = found["heads"]
    common = {row["site"] for row in table["rows"] if None not in row["roles"]}
    assert {"23.0", "23.1", "8.1", "17.4", "8.0", "1.0"} < common
    assert len(common) == 6 + 4
    for i in range(2):
        largest = sorted(table["rows"], key=lambda row: -row["effects"][i])[:7]
        assert {row["site"] for row in largest} <= common
    rest = [row for row in table["rows"] if None in row["roles"]]
    assert (
        f"The other {len(rest)} are small: none has more than {max(x for r in rest for x in r['effects']):.1f}" in said
    )
    assert all(22.5 < x < 24 for row in table["rows"] if row["site"] == "23.0" for x in row["effects"])
    for site in ("11.6", "20.8"):
        (row,) = (row for row in rest if row["site"] == site)
        inside, outside = row["effects"][:: 1 if row["roles"][0] else -1]
        assert outside > inside


def test_agreement_in_the_text_is_what_was_found(found, said):
    total, *single = [each["found"] for each in found["correlations"]]
    for name, sign in (("pearson", "r"), ("spearman", "ρ")):
        value, low, high = total[name]
        assert f"{sign} = {value:.2f} [{low:.2f}, {high:.2f}]" in said
    r, rho = ([each[name][0] for each in single] for name in ("pearson", "spearman"))
    assert f"r is {min(r):.2f} to {max(r):.2f}, ρ only {min(rho):.2f} to {max(rho):.2f}" in said
    assert f"all {total['n']} heads" in said


def test_what_is_kept_in_the_text_is_what_was_found(found, said):
    on_seed_1 = {kept["heads"]: [p[0] for p in kept["faithfulness"]] for kept in found["cross"][1]["kept"]}
    first, second, third = on_seed_1["seed-0"]
    assert min(first, second) > 0.9 > third
    assert f"{third:.0%} of letter 3, below the floor".replace("%", " %") in said
    everywhere = [
        p[0]
        for column in found["cross"]
        for kept in column["kept"]
        if kept["heads"] == "seed-1"
        for p in kept["faithfulness"]
    ]
    assert min(everywhere) > 0.95
    assert min(on_seed_1["heads in all"]) < 0.75
    medians = [x for column in found["cross"] for kept in column["kept"] for x in kept["median"]]
    assert f"The median random circuit keeps {max(medians):.0%} at most".replace("%", " %") in said
    assert f"{found['seconds']:.0f} s in one thread" in said
    assert found["warnings"] == []
    assert all(column["notes"] == [] for column in found["cross"])


def test_the_lucky_random_circuits_hold_the_mover(found):
    """Where one of the ten keeps more than all of letter 1, one holds head 23.0, and nowhere else."""
    every = frozenset(Site(layer, "z", head) for layer in range(30) for head in range(9))
    for kept in found["cross"][0]["kept"]:
        holds = sum(parse_site("23.0") in heads for heads in _drawn(every, kept["size"]))
        assert (holds, kept["best"][0] > 1) in ((1, True), (0, False))
