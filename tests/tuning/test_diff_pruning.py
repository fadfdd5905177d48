"""Diff pruning: its distribution against draws and integrals, its pruning against sorting."""

import math

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.format import load_tuned
from cutaway.tuning.methods.diff_pruning import METHOD, Diff, Options, concrete
from cutaway.tuning.tune import tune
from tuning.models import logits, made


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 2.0])
def test_z_is_zero_as_often_as_the_penalty_says(alpha):
    torch.manual_seed(0)
    z = concrete(torch.full((20_000,), alpha), drawn=True)
    # s ≤ ½ where z = 0, by the distribution of s: P(log u − log(1 − u) ≤ −α)
    zero, one = 1 / (1 + math.exp(alpha)), 1 - 1 / (1 + math.exp(-(math.log((5 / 6) / (1 / 6)) - alpha)))
    assert float((z == 0).float().mean()) == pytest.approx(zero, abs=0.015)
    assert float((z == 1).float().mean()) == pytest.approx(one, abs=0.015)
    each = Diff(torch.zeros(20_000), alpha, structured=False)
    assert float(each.expected().detach()) == pytest.approx(float((z != 0).sum()), rel=0.03)
    other = concrete(torch.full((20_000,), alpha + 1), drawn=True)
    assert float((other == 0).float().mean()) != pytest.approx(zero, abs=0.015)


def test_structured_an_entry_needs_both_switches():
    torch.manual_seed(0)
    each = Diff(torch.zeros(2000), 0.0, structured=True)
    with torch.no_grad():
        each.w.fill_(1.0)
        on = torch.stack([each.delta(drawn=True) != 0 for _ in range(200)])
    assert float(on.float().mean()) == pytest.approx(0.25, abs=0.08)
    assert {float(each.expected().detach())} == {500.0}
    assert on.any(1).float().mean() == pytest.approx(0.5, abs=0.15)  # in half of the draws the whole tensor is off


def learned(**options):
    each = tune(made("bert"), METHOD.name, share=0.02, **options)
    torch.manual_seed(3)
    with torch.no_grad():
        for change in each.attached.changes.values():
            change.w.copy_(torch.randn_like(change.w))
            change.alpha.copy_(torch.randn_like(change.alpha))
    return each


@pytest.mark.parametrize("structured", [True, False])
def test_the_largest_differences_stay(structured):
    each = learned(structured=structured)
    before = {name: change.delta(drawn=False).detach().clone() for name, change in each.attached.changes.items()}
    ranked = torch.cat([x.flatten().abs() for x in before.values()]).sort(descending=True).values
    k = round(0.02 * len(ranked))
    assert ranked[k - 1] > ranked[k]
    each.after_step(1, 4)
    assert not any(change.alpha.isinf().any() for change in each.attached.changes.values())
    each.after_step(2, 4)
    each.model.train()
    for name, change in each.attached.changes.items():
        expected = before[name] * (before[name].abs() >= ranked[k - 1])
        assert torch.equal(change(torch.zeros_like(expected)).detach(), expected)
        assert not torch.equal(before[name], expected)


def test_after_it_only_they_learn():
    each = learned()
    each.attached.prune()
    each.model.train()
    start = {name: change.delta(drawn=True).detach().clone() for name, change in each.attached.changes.items()}
    optimizer = torch.optim.AdamW(each.trained().values(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (logits(each.model, "bert").square().mean() + each.loss()).backward()
        optimizer.step()
    now = {name: change.delta(drawn=True).detach() for name, change in each.attached.changes.items()}
    assert all(bool(((now[name] != 0) <= (x != 0)).all()) for name, x in start.items())
    assert any(not torch.equal(now[name], x) for name, x in start.items())
    assert all(x.isfinite().all() for x in now.values())


def test_the_penalty_pulls_down():
    each = tune(made("bert"), METHOD.name, start=0.0, penalty=0.5, structured=False)
    n = METHOD.count(made("bert"), Options(structured=False)) // 2
    assert each.loss().item() == pytest.approx(0.5 * n / 2)
    each.loss().backward()
    change = next(iter(each.attached.changes.values()))
    assert bool((change.alpha.grad > 0).all())


def test_on_disk_are_places_and_values(tmp_path):
    each = learned()
    each.save(tmp_path / "dense")
    each.attached.prune()
    each.save(tmp_path / "pruned")
    size = {name: (tmp_path / name / "adapter_model.safetensors").stat().st_size for name in ("dense", "pruned")}
    assert size["pruned"] < size["dense"] / 5
    again = load_tuned(made("bert"), tmp_path / "pruned")
    with torch.no_grad():
        assert torch.equal(logits(again.model, "bert"), logits(each.model, "bert"))
        assert torch.equal(logits(again.model.train().eval(), "bert"), logits(each.model, "bert"))
    kept = each.attached.from_disk(each.attached.to_disk())
    assert all(torch.equal(x, kept[name]) for name, x in again.attached.kept().items())


def test_a_file_of_another_model_is_refused():
    each = learned()
    each.attached.prune()
    file = each.attached.to_disk()
    next(x for name, x in file.items() if name.endswith("places") and len(x))[-1] = 10**6
    with pytest.raises(CutawayError, match="not places of this weight"):
        each.attached.from_disk(file)


def test_options_that_make_no_sense():
    for options in ({"search": 0.0}, {"search": 1.0}, {"share": 0.0}):
        with pytest.raises(CutawayError, match="give"):
            tune(made("bert"), METHOD.name, **options)
