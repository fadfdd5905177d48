"""Runs side by side: what differs, how far scores are apart, and what may not be said of them."""

import math
from pathlib import Path
from statistics import mean, variance

import pytest
import torch

from cutaway.core.comparing_runs import Difference, compare_runs, difference, t_quantile, welch
from cutaway.core.errors import CutawayError
from cutaway.core.estimates import Estimate, OverSeeds
from cutaway.core.reading_runs import read_run
from cutaway.core.runs import new_run


def make(folder: Path, *, seed: int = 0, n: int = 100, mean: float = 0.5, lr: float = 0.1, **about) -> Path:
    with new_run(
        folder, config={"training": {"lr": lr, "seed": seed}}, command="cutaway tagging fit", seed=seed, **about
    ) as run:
        run.json(
            "scores.json",
            {"test": {"f1": {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": n}, "found": 7 + seed}},
        )
    return folder


def compared(*folders: Path):
    return compare_runs([read_run(folder) for folder in folders])


def test_settings_and_facts_that_differ_stand_side_by_side(tmp_path):
    found = compared(make(tmp_path / "a", data="x"), make(tmp_path / "b", lr=0.2, data="x", parameters=9, seed=1))
    assert found.settings == {"training.lr": (0.1, 0.2)}
    assert found.facts["parameters"] == (None, 9)
    assert found.facts["seed"] == (0, 1)
    assert not found.facts.keys() & {"data", "command", "made", "versions.python"}
    assert found.scores["test.f1"] == (Estimate(0.5, 0.4, 0.6, 100), Estimate(0.5, 0.4, 0.6, 100))


def test_differences_are_from_the_first_and_counts_stay_whole(tmp_path):
    found = compared(make(tmp_path / "a"), make(tmp_path / "b", mean=0.75, seed=2), make(tmp_path / "c", mean=0.25))
    assert [x and x.mean for x in found.differences["test.f1"]] == [None, 0.25, -0.25]
    assert [str(x) for x in found.differences["test.found"][1:]] == ["+2", "+0"]
    assert str(found.differences["test.f1"][2]) == "−0.2500"
    assert found.differences["test.f1"][1].low is None


def test_a_score_of_one_run_alone_is_left_out_and_of_some_is_kept(tmp_path):
    runs = [read_run(make(tmp_path / name)) for name in "abc"]
    runs[0].scores["mine"] = 1.0
    runs[1].scores["ours"] = runs[2].scores["ours"] = 2.0
    found = compare_runs(runs)
    assert "mine" not in found.scores
    assert found.scores["ours"] == (None, 2.0, 2.0)
    assert found.differences["ours"] == (None, None, None)


def test_other_data_are_a_warning(tmp_path):
    same = compared(make(tmp_path / "a", data_sha256="1"), make(tmp_path / "b", data_sha256="1"))
    assert same.warnings == ()
    other = compared(tmp_path / "a", make(tmp_path / "c", data_sha256="2"))
    assert "data_sha256 differs): scores are not comparable" in other.warnings[0]
    assert "data_sha256): scores may not be comparable" in compared(tmp_path / "a", make(tmp_path / "d")).warnings[0]


def test_intervals_are_called_unpaired_where_the_samples_are_the_same(tmp_path):
    a = make(tmp_path / "a", data_sha256="1")
    assert any("unpaired" in note for note in compared(a, make(tmp_path / "b", data_sha256="1")).notes)
    assert compared(a, make(tmp_path / "c", data_sha256="2")).notes == ()
    assert compared(a, make(tmp_path / "d", data_sha256="1", n=50)).notes == ()


def test_seeds_against_seeds_have_welchs_interval(tmp_path):
    for group, means in {"a": (0.5, 0.6, 0.7), "b": (0.8, 0.9)}.items():
        for seed, x in enumerate(means):
            make(tmp_path / group / f"seed-{seed}", seed=seed, mean=x)
    found = compared(tmp_path / "a", tmp_path / "b", make(tmp_path / "single", mean=0.1))
    apart, single = found.differences["test.f1"][1:]
    assert apart.mean == pytest.approx(0.25)
    assert (apart.low, apart.high) == pytest.approx(welch((0.5, 0.6, 0.7), (0.8, 0.9)))
    assert (single.mean, single.low) == (pytest.approx(-0.5), None)
    assert any("Welch" in note for note in found.notes)
    assert found.facts["seed"] == ([0, 1, 2], [0, 1], 0)
    assert not found.settings


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1.0, 12.7062), (2.0, 4.3027), (5.0, 2.5706), (10.0, 2.2281), (30.0, 2.0423), (120.0, 1.9799), (1e6, 1.95997)],
)
def test_quantiles_are_those_of_the_tables(freedom, quantile):
    """Student's t, two-sided 95 %, as any table of it has it."""
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, abs=6e-5)


def test_quantiles_between_the_tables_and_far_out():
    assert t_quantile(0.5, 3.0) == pytest.approx(0.0, abs=1e-9)
    assert t_quantile(0.9999, 1.0) == pytest.approx(math.tan(math.pi * 0.4999), rel=1e-6)  # ν = 1 is Cauchy
    assert t_quantile(0.9, 2.0) == pytest.approx(0.8 * math.sqrt(2 / (1 - 0.8**2)), rel=1e-9)  # ν = 2 has a closed form
    assert t_quantile(0.975, 2.0) > t_quantile(0.975, 2.5) > t_quantile(0.975, 3.0)


def test_welchs_interval_by_hand():
    """Freedom and standard error written out once more; equal variances and sizes give Student's 2 n − 2."""
    a, b = (1.0, 2.0, 4.0), (3.0, 9.0, 5.0, 8.0)
    low, high = welch(a, b)
    u, v = variance(a) / 3, variance(b) / 4
    freedom = (u + v) ** 2 / (u**2 / 2 + v**2 / 3)
    assert (low + high) / 2 == pytest.approx(mean(b) - mean(a))
    assert (high - low) / 2 == pytest.approx(t_quantile(0.975, freedom) * math.sqrt(u + v))
    low, high = welch((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert (high - low) / 2 == pytest.approx(2.7764 * math.sqrt(2 / 3), abs=1e-4)


def test_welchs_interval_holds_what_it_promises():
    """It covers the true difference of 2000 pairs of normal samples, of 3 and 5 and unequal variance, about 95 times in 100;
    the same with a normal quantile in place of Student's covers far fewer."""
    draw = torch.Generator().manual_seed(0)
    pairs = [(torch.randn(3, generator=draw) * 3, torch.randn(5, generator=draw) + 1) for _ in range(2000)]
    covered = narrow = 0
    for a, b in pairs:
        low, high = welch(a.tolist(), b.tolist())
        covered += low <= 1 <= high
        middle, half = (low + high) / 2, 1.96 * math.sqrt(a.var() / 3 + b.var() / 5)
        narrow += middle - half <= 1 <= middle + half
    assert 0.92 < covered / 2000 < 0.97
    assert narrow / 2000 < 0.9


def test_numbers_that_do_not_vary_or_are_none():
    assert welch((1.0, 1.0), (2.0, 2.0)) == (1.0, 1.0)
    assert all(map(math.isnan, welch((math.nan, 1.0), (2.0, 2.0))))
    assert difference(None, 1.0) is None
    assert difference(OverSeeds.of([1.0]), OverSeeds.of([2.0])) == Difference(1.0)


def test_one_run_is_no_comparison(tmp_path):
    with pytest.raises(CutawayError, match="at least two runs"):
        compared(make(tmp_path / "a"))
