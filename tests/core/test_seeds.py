"""Several seeds: a folder each, and what they come to together."""

import json
import math
from pathlib import Path

import pytest

from cutaway.core.errors import CutawayError
from cutaway.core.estimates import OverSeeds
from cutaway.core.runs import finished, new_run
from cutaway.core.seeds import flat, over_seeds, runs_of, summary


def one(seed: int, folder: Path) -> dict:
    folder.mkdir(parents=True)
    scores = {"test": {"f1": {"mean": seed / 10, "low": 0.0}, "n": 5}, "name": "x"}
    (folder / "scores.json").write_text(json.dumps(scores))
    return scores


def test_a_single_seed_is_the_folder_itself(tmp_path):
    assert over_seeds(tmp_path / "out", [3], one)[0]["test"]["f1"]["mean"] == 0.3
    assert [x.name for x in (tmp_path / "out").iterdir()] == ["scores.json"]
    assert runs_of(tmp_path / "out") == [tmp_path / "out"]


def test_several_have_a_summary(tmp_path):
    over_seeds(tmp_path, [1, 10], one)
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["seeds"] == [1, 10]
    assert told["test.f1"]["values"] == [0.1, 1.0]
    assert told["test.f1"]["mean"] == pytest.approx(0.55)
    assert told["test.f1"]["sd"] == pytest.approx(0.9 / math.sqrt(2))
    one(2, tmp_path / "seed-2")
    assert [x.name for x in runs_of(tmp_path)] == ["seed-1", "seed-2", "seed-10"]


def test_numbers_are_taken_out_of_tables():
    assert flat({"a": {"b": 1, "c": {"mean": 0.5, "low": 0}}, "d": True, "e": "x", "f": None}) == {
        "a.b": 1.0,
        "a.c": 0.5,
    }
    assert summary([{"a": 1.0, "b": 1.0}, {"a": 3.0}]) == {"a": OverSeeds(2.0, math.sqrt(2), (1.0, 3.0))}


def test_one_seed_has_no_deviation():
    told = OverSeeds.of([0.5])
    assert str(told) == "0.5000"
    assert told.to_dict() == {"mean": 0.5, "sd": None, "values": [0.5]}


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_are_different_ones(tmp_path, seeds):
    with pytest.raises(CutawayError, match="--seeds are"):
        over_seeds(tmp_path, seeds, one)


def test_a_finished_run_is_known_by_its_settings(tmp_path):
    config = {"a": 1, "inner": {"b": "x"}}
    assert finished(tmp_path / "run", config=config) is None
    with new_run(tmp_path / "run", config=config, seed=3) as run:
        run.json("scores.json", {"n": 5})
    assert finished(tmp_path / "run", config=config, seed=3) == {"n": 5}
    with pytest.raises(CutawayError, match=r"another run \(seed differ\)"):
        finished(tmp_path / "run", config=config, seed=4)
    with pytest.raises(CutawayError, match=r"another run \(config.toml differ\)"):
        finished(tmp_path / "run", config={**config, "a": 2}, seed=3)
