"""The CRF benchmark without its peers: cases, comparison, ratios; its table is the committed result, in which all values agree."""

import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"


@pytest.fixture
def script():
    import tagging_crf

    return tagging_crf


@pytest.fixture
def result(script) -> dict:
    return json.loads(script.RESULT.read_text())


def test_the_table_is_the_result(script, result):
    page = (ROOT / "docs" / "tagging-parts.md").read_text()
    assert page.split("<!-- crf table -->\n")[1].split("\n<!-- end")[0] == script.table(result)


def test_every_value_agrees_and_the_target_is_met(script, result):
    assert script.wrong(result) == []
    assert result["skipped"] == {}
    assert (result["batch"], result["words"], result["tags"]) == (32, 50, 60)
    for found in result["rows"].values():
        assert set(found["peers"]) == {"pytorch-crf", "TorchCRF"}
        assert all(peer["ratio"]["low"] >= result["target"] for peer in found["peers"].values())


def test_cutaway_answers_jobs(script, tmp_path):
    """Both jobs, in this process; what the answers hold, and that a value that differs is told."""
    import with_crfs

    cases = script.cases(tmp_path)
    assert len(cases) == 2
    for case in cases.values():
        for job in (with_crfs.learn, with_crfs.decode):
            told = job("cutaway", {"case": str(case), "repeats": 1, "out": str(tmp_path / f"{job.__name__}.npz")})
            assert len(told["seconds"]) == 1
        assert script.differences(tmp_path / "learn.npz", tmp_path / "learn.npz")["likelihood"] == 0
        with np.load(tmp_path / "learn.npz") as arrays:
            np.savez(tmp_path / "other.npz", **{**arrays, "likelihood": arrays["likelihood"] + 1})
        assert script.differences(tmp_path / "learn.npz", tmp_path / "other.npz")["likelihood"] > script.TOLERANCE
        with np.load(case) as given, np.load(tmp_path / "decode.npz") as found:
            assert ((found["paths"] >= 0) == given["mask"]).all()


def test_ratios_are_of_the_fastest_repeats_of_a_round(script):
    found = script.ratio([[1.0, 9.0], [2.0, 2.0], [1.0, 1.0]], [[9.0, 3.0], [8.0, 9.0], [5.0, 6.0]])
    assert (found["median"], found["least"]) == (4.0, 3.0)
    assert found["low"] <= 4.0 <= found["high"]
