"""A circuit under other conventions: known values on planted models, the naive loop on random ones, the file and the page."""

import json
from pathlib import Path

import pytest
import torch

import cutaway
from circuits.run_folders import make
from cutaway.circuits import isolation as isolation_file
from cutaway.circuits import report
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.isolation import Isolation
from cutaway.circuits.metrics import METRICS, scorer
from cutaway.circuits.read import read
from cutaway.circuits.sensitivity import ABLATIONS, DENOISING, Sensitivity, Setting, sensitivity
from cutaway.circuits.variant import Variant, head_sites
from cutaway.core.scores import Estimate
from cutaway.decoder.planted import truth

from . import naive
from .behaviors_by_hand import random_behavior
from .cases import build as decoder

NAME = "planted:acronyms@1"
MOVER = next(site for site, role in truth(NAME).items() if role == "letter mover")


@pytest.fixture(scope="module")
def planted() -> Isolation:
    model = cutaway.load(NAME)
    return Isolation(model, build(model.tokenizer, Acronyms(n=7)))


def test_one_choice_changes_in_each_row(planted):
    settings = sensitivity(planted, frozenset(truth(NAME)), budget=2048).settings
    keys = ("ablation", "direction", "metric", "prompts")
    own = settings[0]
    assert (own.changed, own.ablation, own.direction, own.metric, own.n) == (
        "nothing",
        "mean",
        "noising",
        "logit_diff",
        7,
    )
    for other in settings[1:]:
        differ = {key for key in keys if getattr(other, key) != getattr(own, key)}
        assert other.changed in differ
        assert differ <= {other.changed, "ablation"}  # denoising has no ablation
    assert {s.ablation for s in settings} == {*ABLATIONS, DENOISING}
    assert {s.metric for s in settings} == set(METRICS)
    assert [s.n for s in settings if s.changed == "prompts"] == [3, 4]


def test_a_planted_circuit_is_faithful_under_every_convention(planted):
    found = sensitivity(planted, frozenset(truth(NAME)), budget=2048)
    for low, high in found.ranges():
        assert low == pytest.approx(1, abs=1e-4)
        assert high == pytest.approx(1, abs=1e-4)


def test_a_circuit_without_a_mover_is_not_and_how_much_it_lacks_is_convention(planted):
    """Half of what writes the letters is gone. The right letter still wins, so `correct` sees nothing; denoising sees most."""
    found = sensitivity(planted, frozenset(truth(NAME)) - {MOVER}, budget=2048)
    last = {(s.changed, s.ablation, s.metric): s.faithfulness[2].mean for s in found.settings}
    assert last["nothing", "mean", "logit_diff"] < 0.8
    assert last["direction", DENOISING, "logit_diff"] < last["nothing", "mean", "logit_diff"] - 0.1
    assert last["metric", "mean", "correct"] == pytest.approx(1, abs=1e-4)
    low, high = found.ranges()[2]
    assert low == pytest.approx(min(last.values()))
    assert high == pytest.approx(max(last.values()))


# --- the naive loop --------------------------------------------------------------------------------------------------


def scene() -> tuple[Isolation, frozenset]:
    """A random model, where every convention gives another number, and an arbitrary circuit in it."""
    model, behavior = decoder("learned positions"), random_behavior(3, prompts=4, steps=3, shared=2)
    return Isolation(model, behavior), frozenset(head_sites(model)[::2])


def by_hand(isolation: Isolation, heads: frozenset, setting: Setting) -> torch.Tensor:
    """Faithfulness `[step]` of a setting from its label alone: full passes with patches, nothing else."""
    model, behavior, score = isolation.model, isolation.behavior, scorer(isolation.behavior)
    clean, corrupt = behavior.clean, behavior.corruptions[behavior.reference].runs[0][1]
    half = {"first half": slice(0, 2), "second half": slice(2, 4)}.get(setting.prompts, slice(None))

    def measured(base, variant: Variant | None = None, values=None) -> torch.Tensor:
        patches = naive.patches(behavior, base, variant, values) if variant else ()
        return score.measure(setting.metric, naive.logits(model, base, score.columns, patches))[half].mean(0)

    whole = measured(clean)
    if setting.direction == "denoising":
        nothing, alone = measured(corrupt), measured(corrupt, Variant(heads), naive.resampled(model, corrupt, clean))
    else:
        values = {
            "mean": lambda: naive.averaged(model, clean, corrupt),
            "resample": lambda: naive.resampled(model, clean, corrupt),
            "zero": lambda: naive.zero(model, clean),
        }[setting.ablation]()
        every = isolation.every_head
        nothing, alone = measured(clean, Variant(every), values), measured(clean, Variant(every - heads), values)
    return (alone - nothing) / (whole - nothing)


def gaps(isolation: Isolation, heads: frozenset) -> list[float]:
    """For each setting how far it is from the naive loop, relative to its size."""
    found = []
    with torch.inference_mode():
        for setting in sensitivity(isolation, heads, budget=2048).settings:
            theirs = by_hand(isolation, heads, setting)
            ours = torch.tensor([estimate.mean for estimate in setting.faithfulness])
            # where a metric cannot tell the model from nothing, neither has a finite number
            gap = torch.where(theirs.isfinite() | ours.isfinite(), (ours - theirs).abs() / (1 + theirs.abs()), 0)
            found.append(float(gap.nan_to_num(torch.inf).amax()))
    return found


def test_every_row_is_what_its_label_says():
    assert max(gaps(*scene())) < 1e-3


@pytest.mark.parametrize(("label", "done"), [("slot_means", "from_run"), ("from_run", "slot_means")])
def test_a_wrong_ablation_label_would_be_noticed(monkeypatch, label, done):
    """Broken on purpose: what is called one ablation does another."""
    monkeypatch.setattr(isolation_file, label, getattr(isolation_file, done))
    assert max(gaps(*scene())) > 1e-2


# --- the file, the line, the page -----------------------------------------------------------------------------------


def test_numbers_that_are_not_finite_are_left_out_of_the_range():
    def setting(mean: float) -> Setting:
        return Setting("metric", "mean", "noising", "correct", "all", 4, (Estimate(mean, mean, mean, 4),))

    assert Sensitivity((setting(0.5), setting(float("nan")), setting(float("inf")), setting(0.9))).ranges() == (
        (0.5, 0.9),
    )


def test_the_page_says_each_convention_and_the_range(tmp_path, planted):
    folder = make(tmp_path / "run")
    said = report.render(folder).read_text(encoding="utf-8")
    assert 'id="sensitivity"' not in said  # a run from before there was such a file
    found = sensitivity(planted, frozenset(truth(NAME)) - {MOVER}, budget=2048)
    (folder / "sensitivity.json").write_text(json.dumps(found.to_dict()))
    assert len(read(folder).sensitivity) == len(found.settings)
    said = report.render(folder).read_text(encoding="utf-8")
    table = said[said.index('<table id="sensitivity-table"') :].split("</table>")[0]
    assert table.count('<th scope="row">') == len(found.settings) + 1
    assert f"{DENOISING}, denoising, logit diff" in table
    low, high = found.ranges()[2]
    assert f"{low:.0%} to {high:.0%}" in table
    assert "cannot be compared" in said


def test_a_run_writes_it_and_shows_one_line(tmp_path: Path):
    from rich.console import Console

    from cutaway.circuits.config import Find
    from cutaway.circuits.find import find
    from cutaway.circuits.show import summary
    from cutaway.circuits.write import write
    from cutaway.core.runs import Run

    model, config = cutaway.load(NAME), Find(n_sweep=2, n_search=4, n_verify=4, n_random=1)
    write(find(model, build(model.tokenizer, Acronyms(n=8)), config), Run(tmp_path), model.tokenizer)
    file = json.loads((tmp_path / "sensitivity.json").read_text())
    assert file["steps"] == ["letter 1", "letter 2", "letter 3"]
    assert [s["changed"] for s in file["settings"]].count("ablation") == 2
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary(tmp_path))
    assert "7 other conventions (ablation, direction, metric, prompts) it keeps 100% to 100%" in console.export_text()
