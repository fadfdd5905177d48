"""The distances of the package `lpips`, recorded: trunks, linear weights and images are drawn again by seed, and give its numbers.

The record is `benchmarks/results/similarity-parity.json`, made by `benchmarks/similarity_parity.py`, where both run side by side.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

from cutaway.similarity.comparison import Identity
from cutaway.similarity.distance import Distance
from cutaway.similarity.linear import published_linear
from cutaway.similarity.trunk import net_named
from cutaway.similarity.weights import Origin

ROOT = Path(__file__).parents[2]
RECORD = json.loads((ROOT / "benchmarks" / "results" / "similarity-parity.json").read_text())
CASES = {f"{row['net']} {row['version']} {row['linear']}": row for row in RECORD["rows"]}


@pytest.fixture
def seeded(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks" / "peers"), *sys.path])
    import seeded_trunks

    return seeded_trunks


def drawn(seeded, row: dict, linear: list[torch.Tensor], dtype: torch.dtype) -> Distance:
    net = net_named(row["net"])
    trunk = net.build()
    trunk.load_state_dict(seeded.weights({k: tuple(x.shape) for k, x in trunk.state_dict().items()}, RECORD["seed"]))
    layers = tuple(layer.name for layer in net.layers)
    identity = Identity(row["version"], "lin", net.name, layers, Origin("drawn"), Origin(row["linear"]))
    return Distance(net, trunk, linear, identity, (-1, 1)).to(dtype)


def held(seeded, row: dict, linear: list[torch.Tensor], tolerance: float, dtype: torch.dtype = torch.float64) -> None:
    """Values, layers and some places of the maps are those recorded."""
    a, b = (x.to(dtype) for x in seeded.pairs(RECORD["pairs"], tuple(RECORD["size"]), RECORD["seed"]))
    measure, theirs = drawn(seeded, row, linear, dtype), row["lpips"]
    found = measure.compare(a, b, maps=True)
    torch.testing.assert_close(found.values.double(), torch.tensor(theirs["values"]).double(), rtol=tolerance, atol=0)
    if dtype == torch.float64:
        torch.testing.assert_close(found.terms, torch.tensor(theirs["layers"]).double(), rtol=tolerance, atol=0)
        some = torch.stack([found.maps[:, i, j] for i, j in RECORD["places"]], 1)
        torch.testing.assert_close(some, torch.tensor(theirs["maps"]).double(), rtol=tolerance, atol=0)


@pytest.mark.parametrize("case", [name for name in CASES if name.endswith("drawn")])
def test_the_numbers_of_lpips(seeded, case):
    row = CASES[case]
    linear = seeded.linear(net_named(row["net"]).channels, RECORD["seed"])
    held(seeded, row, linear, RECORD["tolerance"])
    held(seeded, row, linear, RECORD["rounding"], torch.float32)


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_the_numbers_of_lpips_with_its_published_weights(seeded, data, monkeypatch, net):
    monkeypatch.setenv("CUTAWAY_DATA", str(data))
    held(seeded, CASES[f"{net} 0.1 published"], published_linear(net_named(net), "0.1")[0], RECORD["tolerance"])


def test_a_wrong_distance_would_be_noticed(seeded, monkeypatch):
    """Another shift of the first colour, in its third digit, and weights of another seed."""
    row = CASES["squeeze 0.1 drawn"]
    net = net_named("squeeze")
    with pytest.raises(AssertionError):
        held(seeded, row, seeded.linear(net.channels, RECORD["seed"] + 1), RECORD["rounding"])
    monkeypatch.setattr("cutaway.similarity.trunk.Net.__getattribute__", shifted)
    with pytest.raises(AssertionError):
        held(seeded, row, seeded.linear(net.channels, RECORD["seed"]), RECORD["rounding"])


def shifted(self, name: str):
    value = object.__getattribute__(self, name)
    return (value[0] + 1e-3, *value[1:]) if name == "shift" else value


def test_the_record_says_that_all_is_equal(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import similarity_parity

    assert similarity_parity.wrong(RECORD) == []
    assert len(CASES) == 12
    page = (ROOT / "docs" / "similarity.md").read_text()
    assert page.split("<!-- parity table -->\n")[1].split("\n<!-- end")[0] == similarity_parity.table(RECORD)
    worse = json.loads(json.dumps(RECORD))
    worse["rows"][0]["float64"]["layers"] = 2e-6
    assert len(similarity_parity.wrong(worse)) == 1
