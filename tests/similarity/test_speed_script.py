"""The speed benchmark without its peers: ratios, differences, the table, and that values which differ are told."""

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), str(FOLDER / "peers"), *sys.path])
    import similarity_speed

    return similarity_speed


@pytest.fixture
def rows(script, tmp_path) -> dict:
    """Three rounds of each library; the peer's values are a thousandth larger."""
    made = {}
    for name, seconds, factor in (("cutaway", [1.0, 2.0, 1.0], 1.0), ("lpips", [3.0, 4.0, 2.0], 1.001)):
        file = tmp_path / f"{name}.npz"
        np.savez(file, found=factor * np.linspace(1, 2, 4))
        made[name] = {"seconds": seconds, "peak_bytes": 100 if name == "cutaway" else 200, "file": file}
    return made


def test_ratios_are_of_rounds(script, rows):
    found = script.condensed(rows, "forward")["lpips"]
    assert found["ratio"]["median"] == 2.0
    assert found["ratio"]["low"] <= 2.0 <= found["ratio"]["high"]
    assert found["memory"] == 0.5
    assert found["difference"] == pytest.approx(0.001, rel=0.01)


def test_values_that_differ_are_told_and_slopes_are_held_by_their_length(script, rows):
    result = {"rows": {"alex": {job: script.condensed(rows, asked["do"]) for job, asked in script.JOBS.items()}}}
    told = script.wrong(result)
    assert len(told) == 3
    assert not any("backward" in line for line in told)
    rows["lpips"]["file"] = rows["cutaway"]["file"]
    same = {"rows": {"alex": {job: script.condensed(rows, asked["do"]) for job, asked in script.JOBS.items()}}}
    assert script.wrong(same) == []
    table = script.table(same)
    assert len(table.splitlines()) == 2 + len(script.JOBS)
    assert "**2.00×**" in table
    assert "0.50×" in table


def test_cutaway_answers_the_jobs(script, tmp_path, monkeypatch):
    """In this process: values of a batch, of one with many, and slopes."""
    monkeypatch.setattr(script, "SIDE", 64)
    import with_similarity

    case = script.case("squeeze", 3) | {"repeats": 1}
    found = {}
    for job, asked in script.JOBS.items():
        out = str(tmp_path / "out.npz")
        told = with_similarity.JOBS[asked["do"]]("cutaway", case | asked | {"out": out})
        assert len(told["seconds"]) == 1
        with np.load(out) as arrays:
            found[job] = arrays["found"]
    assert found["forward"].shape == found["one with many"].shape == (3,)
    assert np.array_equal(found["one with many"], found["one, broadcast"])
    assert found["forward+backward"].shape == (3, 3, 64, 64)
    assert np.isfinite(found["forward+backward"]).all()
