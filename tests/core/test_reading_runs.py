"""Runs read back: found wherever they lie, whole or broken, with their scores, of whatever room."""

import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cutaway.core.errors import CutawayError
from cutaway.core.estimates import Estimate, OverSeeds
from cutaway.core.numbers import flat, numbers
from cutaway.core.reading_runs import curves, files, find_runs, fold_seeds, main_scores, read_run, sure_scores
from cutaway.core.runs import new_run
from cutaway.core.seeds import over_seeds


def estimate(mean: float, n: int = 100) -> dict:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": n}


SCORES = {
    "dev": {"accuracy": estimate(0.7), "n": 100},
    "test": {
        "n": 100,
        "spans": {"precision": estimate(0.4), "recall": estimate(0.6), "f1": estimate(0.5), "there": 12},
        "accuracy": estimate(0.8),
        "by_type": {"city.name": {"all": {"f1": estimate(0.9)}}},
        "remark": "none",
        "unseen": None,
    },
}


def make(folder: Path, *, seed: int = 0, scores: dict | None = None, made: str = "", lr: float = 0.1, **about) -> Path:
    config = {"decoder": "crf", "training": {"lr": lr, "seed": seed}}
    command = "cutaway tagging fit --data x"
    with new_run(folder, config=config, command=command, seed=seed, data="x", data_sha256="ab", **about) as run:
        run.json("scores.json", SCORES if scores is None else scores)
        if made:
            run.facts["made"] = made
    return folder


def test_a_run_says_what_it_is(tmp_path):
    run = read_run(make(tmp_path / "run", seed=3, made="2026-01-02T03:04:05Z", model="somebody/small-one"))
    assert (run.what, run.about, run.seed) == ("tagging fit", ("x", "small-one"), 3)
    assert run.made == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert run.seconds is not None
    assert run.config == {"decoder": "crf", "training.lr": 0.1, "training.seed": 3}
    assert run.scores["test.spans.f1"] == Estimate(0.5, 0.4, 0.6, 100)
    assert run.scores["test.by_type.city.name.all.f1"] == Estimate(0.9, 0.8, 1.0, 100)
    assert run.scores["test.n"] == 100
    assert not run.faults


def test_the_kind_in_a_manifest_counts_more_than_its_command(tmp_path):
    assert read_run(make(tmp_path / "a", kind="ablation")).what == "ablation"
    with new_run(tmp_path / "b", config={}, command="benchmarks/joint.py --fast"):
        pass
    assert read_run(tmp_path / "b").what == "joint.py"


def test_main_scores_are_those_of_test_and_f1_speaks_for_its_table(tmp_path):
    assert main_scores(read_run(make(tmp_path / "a"))) == ["test.spans.f1", "test.accuracy"]
    dev = read_run(make(tmp_path / "b", scores={"dev": SCORES["dev"]}))
    assert main_scores(dev) == ["dev.accuracy"]
    assert sure_scores(read_run(tmp_path / "a")) == [
        "dev.accuracy",
        *(f"test.spans.{name}" for name in ("precision", "recall", "f1")),
        "test.accuracy",
    ]


def test_a_manifest_may_name_the_main_scores_one_by_one_or_by_table(tmp_path):
    run = read_run(make(tmp_path / "run", main_scores=["test.by_type", "dev.accuracy", "test.spa"]))
    assert main_scores(run) == ["dev.accuracy", "test.by_type.city.name.all.f1"]
    (found,), _ = find_runs(tmp_path, every=False)
    assert main_scores(found) == main_scores(run)


def test_plain_numbers_are_scores_where_none_has_an_interval(tmp_path):
    run = read_run(make(tmp_path / "run", scores={"loss": 0.25, "epochs": 3, "done": True, "curve": [1, 2]}))
    assert run.scores == {"loss": 0.25, "epochs": 3}
    assert main_scores(run) == ["loss", "epochs"]


def test_numbers_of_lists_are_named_by_the_steps_of_their_table():
    tree = {
        "steps": ["one", "two"],
        "kept": [estimate(0.1), estimate(0.2)],
        "plain": [1, 2],
        "long": [estimate(0.3)] * 3,
    }
    assert [*numbers(tree)] == ["kept.one", "kept.two", "long.1", "long.2", "long.3"]
    assert [*numbers({"a": {"b": {"c": 1}, "d": 2}}, deepest=2)] == ["a.d"]
    assert numbers({"x": OverSeeds.of([1.0, 3.0]).to_dict()}) == {"x": OverSeeds(2.0, math.sqrt(2), (1.0, 3.0))}
    odd = {"x": {"mean": 1}, "huge": 10**400, "y": {"mean": "a", "low": 0}, "z": {"mean": True}}
    assert numbers(odd) == {"x": 1.0, "y.low": 0}


def test_without_scores_json_other_tables_with_intervals_are_read(tmp_path):
    with new_run(tmp_path / "run", config={}, command="cutaway circuits find acronyms") as run:
        run.json("verification.json", {"steps": ["a", "b"], "kept": [estimate(0.5), estimate(0.6)], "n": 4})
        run.json("seconds.json", {"search": 3.0})
    assert [*read_run(tmp_path / "run").scores] == ["verification.kept.a", "verification.kept.b"]


def test_runs_are_found_newest_first_and_only_where_people_put_them(tmp_path):
    make(tmp_path / "old", made="2025-01-01T00:00:00Z")
    make(tmp_path / "deep" / "er" / "new", made="2026-01-01T00:00:00+00:00")
    make(tmp_path / "undated", made="some day")
    for hidden in (".hidden/run", "model/run", "old/inner"):
        make(tmp_path / "elsewhere").rename(tmp_path / "moved")
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / "moved").rename(tmp_path / hidden)
    found, broken = find_runs(tmp_path)
    assert [run.folder.name for run in found] == ["new", "old", "undated"]
    assert not broken


def test_a_list_reads_no_more_scores_than_it_shows(tmp_path):
    """What makes thousands of runs a matter of seconds: hundreds of numbers by type are not even looked at."""
    make(tmp_path / "run")
    make(tmp_path / "deep", scores={"a": {"b": {"c": {"d": estimate(0.5)}}}})
    few, all = ({run.folder.name: run for run in find_runs(tmp_path, every=every)[0]} for every in (False, True))
    assert all["run"].scores.keys() - few["run"].scores.keys() == {"test.by_type.city.name.all.f1"}
    assert main_scores(few["run"]) == main_scores(all["run"])
    assert [*few["deep"].scores] == ["a.b.c.d"]


def test_links_are_followed_once(tmp_path):
    make(tmp_path / "runs" / "a")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "self").symlink_to("self")
    make(tmp_path / "disk" / "b")
    (tmp_path / "runs" / "disk").symlink_to(tmp_path / "disk")
    assert sorted(run.folder.name for run in find_runs(tmp_path / "runs")[0]) == ["a", "b"]


def test_what_is_broken_is_told_and_the_rest_is_read(tmp_path):
    make(tmp_path / "good")
    for name, manifest in {
        "cut": b'{"comm',
        "latin": b'{"command": "\xe9"}',
        "list": b"[]",
        "foreign": b'{"name": "app"}',
    }.items():
        (make(tmp_path / name) / "manifest.json").write_bytes(manifest)
    (make(tmp_path / "folder") / "manifest.json").unlink()
    (tmp_path / "folder" / "manifest.json").mkdir()
    os.remove(make(tmp_path / "pipe") / "manifest.json")
    os.mkfifo(tmp_path / "pipe" / "manifest.json")
    (make(tmp_path / "half") / "manifest.json").unlink()
    (make(tmp_path / "deep") / "manifest.json").write_text("[" * 100_000)
    found, broken = find_runs(tmp_path)
    assert [run.folder.name for run in found] == ["good"]
    assert {
        path.name: why for path, why in broken.items() if path.name in ("latin", "folder", "pipe", "half", "deep")
    } == {
        "latin": "manifest.json is not UTF-8 text",
        "folder": "manifest.json is not a file",
        "pipe": "manifest.json is not a file",
        "half": "half a run: it has no manifest.json",
        "deep": "manifest.json is nested too deeply",
    }
    assert "is not JSON" in broken[tmp_path / "cut"]
    assert all("not that of a run" in broken[tmp_path / name] for name in ("list", "foreign"))
    assert all("\n" not in why and str(tmp_path) not in why for why in broken.values())
    with pytest.raises(CutawayError, match=r"cut: manifest\.json is not JSON"):
        read_run(tmp_path / "cut")


def test_a_run_is_read_as_far_as_it_goes(tmp_path):
    folder = make(tmp_path / "run")
    (folder / "config.toml").write_text("a = = 1")
    (folder / "scores.json").write_text('{"test": ')
    run = read_run(folder)
    assert (run.config, run.scores) == ({}, {})
    assert [fault.split(" (")[0] for fault in run.faults] == ["config.toml is not TOML", "scores.json is not JSON"]
    (folder / "config.toml").unlink()
    (folder / "scores.json").write_text("[" * 900 + "]" * 900)
    assert read_run(folder).faults[0] == "config.toml is not there"


@pytest.mark.parametrize(
    "wrong", [{"made": 7}, {"made": "0001-01-01T00:00:00+14:00"}, {"seconds": "long"}, {"seconds": math.nan}]
)
def test_facts_of_the_wrong_kind_are_passed_over(tmp_path, wrong):
    make(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(
        json.dumps({**manifest, **wrong, "command": 3, "seed": "x", "model": 1})
    )
    run = read_run(tmp_path / "run")
    assert (run.what, run.seed, run.about) == ("", None, ("x",))
    assert None in (run.made, run.seconds)


def test_seeds_of_one_folder_are_one_run_as_their_summary_says(tmp_path):
    def one(seed: int, at: Path) -> dict:
        scores = {"test": {"accuracy": estimate(0.5 + seed / 10), "n": 100}}
        make(at, seed=seed, scores=scores, best_step=seed, made=f"2026-01-0{seed + 1}T00:00:00Z")
        return scores

    over_seeds(tmp_path / "several", [0, 2, 1], one)
    make(tmp_path / "single")
    found, _ = find_runs(tmp_path)
    assert len(found) == 4
    single, both = sorted(fold_seeds(found), key=lambda run: len(run.seeds))
    assert (single.folder.name, both.folder.name) == ("single", "several")
    assert [run.seed for run in both.seeds] == [0, 1, 2]
    assert both.scores["test.accuracy"] == OverSeeds.of([0.5, 0.6, 0.7])
    told = json.loads((tmp_path / "several" / "summary.json").read_text())
    assert told["test.accuracy"]["mean"] == pytest.approx(both.scores["test.accuracy"].mean)
    assert told["test.accuracy"]["sd"] == pytest.approx(both.scores["test.accuracy"].sd)
    assert main_scores(both) == ["test.accuracy"]
    assert both.manifest["best_step"] == {"seed 0": 0, "seed 1": 1, "seed 2": 2}
    assert both.manifest["data"] == "x"
    assert "training.seed" not in both.config
    assert both.made == datetime(2026, 1, 3, tzinfo=UTC)
    assert read_run(tmp_path / "several").scores == both.scores


@pytest.mark.parametrize("other", [{"seed": 0}, {"seed": 1, "lr": 0.2}, {"seed": 1, "kind": "other"}])
def test_runs_that_differ_in_more_than_their_seed_stay_apart(tmp_path, other):
    make(tmp_path / "a")
    make(tmp_path / "b", **other)
    assert len(fold_seeds(find_runs(tmp_path)[0])) == 2
    with pytest.raises(CutawayError, match="is not a run: it holds 2"):
        read_run(tmp_path)


def test_a_folder_that_holds_more_than_the_seeds_does_not_stand_for_them(tmp_path):
    for seed in (0, 1):
        make(tmp_path / f"seed-{seed}", seed=seed)
    make(tmp_path / "else" / "x")
    assert len(fold_seeds(find_runs(tmp_path)[0])) == 3


def test_a_diverged_seed_leaves_no_deviation_and_breaks_nothing(tmp_path):
    for seed, loss in enumerate((1.0, math.nan)):
        make(tmp_path / f"seed-{seed}", seed=seed, scores={"loss": loss})
    loss = read_run(tmp_path).scores["loss"]
    assert math.isnan(loss.mean)
    assert math.isnan(loss.sd)


def test_curves_are_taken_by_step_where_there_are_both(tmp_path):
    folder = make(tmp_path / "run")
    rows = [
        {"step": 1, "loss": 4.0},
        {"step": 2, "loss": 2.0},
        {"epoch": 1, "step": 2, "loss": 3.0, "dev_f1": 0.5, "note": "x"},
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": \n7\n')
    assert curves(read_run(folder)) == ({"loss": [4.0, 2.0], "dev_f1": [0.5]}, 2)
    assert curves(read_run(make(tmp_path / "none"))) == ({}, 0)


def test_files_have_sizes_and_folders_what_they_hold(tmp_path):
    (tmp_path / "model" / "encoder").mkdir(parents=True)
    for name, length in {"a.txt": 3, "model/w": 5, "model/encoder/t": 7, ".journal": 9}.items():
        (tmp_path / name).write_bytes(b"x" * length)
    assert files(tmp_path) == [("a.txt", 3, 0), ("model/", 12, 2)]


def test_nowhere_and_nothing_are_told(tmp_path):
    for read in (find_runs, read_run):
        with pytest.raises(CutawayError, match="there is no folder"):
            read(tmp_path / "none")
    with pytest.raises(CutawayError, match=r"is not a run: it has no manifest\.json"):
        read_run(tmp_path)
    assert find_runs(tmp_path) == ([], {})


def test_tables_are_flattened_whatever_they_hold():
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": {}}) == {"a.b.c": 1, "a.d": [2]}
