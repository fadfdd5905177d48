"""AdaLoRA: the equation, the pull to orthogonal sides, and where the budget goes."""

import pytest
import torch

from cutaway.tuning.methods import adalora
from cutaway.tuning.tune import tune
from tuning.equations import at_work
from tuning.models import logits, made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("gpt2", "attn_qkv")])
def test_the_difference_has_the_form_of_singular_values(family, role):
    work = at_work(family, "adalora", role, start_rank=4, rank=2, alpha=6)
    q, values, p = (work.tensors[f"lora_{name}"] for name in ("A", "E", "B"))
    assert work.says(work.weight + 6 / 4 * p @ torch.diag(values.flatten()) @ q)
    assert not work.says(work.weight + p @ torch.diag(values.flatten()) @ q)
    assert not work.says(work.weight + 6 / 4 * p @ q)


def test_sides_are_pulled_to_orthogonal_ones():
    each = tune(made("bert"), "adalora", start_rank=4, rank=2, orthogonality=0.3)
    pairs = [p for name, p in each.trained().items() if "lora_A" in name or "lora_B" in name]
    gram = [(p @ p.T if p.shape[0] == 4 else p.T @ p) for p in pairs]
    want = 0.3 * sum((g - torch.eye(4)).square().sum().sqrt() for g in gram) / len(gram)
    torch.testing.assert_close(each.loss(), want)
    with torch.no_grad():
        for p in pairs:
            tall = p if p.shape[1] == 4 else p.T
            tall.copy_(torch.linalg.qr(tall)[0])
    assert each.loss() < 1e-5
    with each.off():
        assert each.loss() is None


def budget(each):
    return sum(int((p != 0).sum()) for name, p in each.trained().items() if "lora_E" in name)


def run(steps, **options):
    """Trains with a loss in which the second layer's values hardly matter."""
    torch.manual_seed(0)
    each = tune(made("bert"), "adalora", start_rank=4, rank=2, at=("attn_v",), **options)
    optimizer = torch.optim.Adam(each.trained().values(), lr=0.02)
    left = []
    for step in range(1, steps + 1):
        hidden = each.model.bert(**{"input_ids": torch.arange(2, 9)[None]}, output_hidden_states=True).hidden_states
        loss = hidden[1].square().mean() + 1e-3 * hidden[2].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        each.after_step(step, steps)
        left.append(budget(each))
    return each, left


def test_the_budget_falls_along_a_cubic_curve_to_where_it_matters():
    each, left = run(20, warmup=0.2, final=0.3)
    want = [int((8 - 4) * (1 - (step - 4) / (20 - 6 - 4)) ** 3 + 4) for step in range(5, 14)]
    assert left[:4] == [8] * 4
    assert left[4:13] == want
    assert set(left[13:]) == {4}
    first, second = (p for name, p in each.trained().items() if "lora_E" in name)
    assert (int((first != 0).sum()), int((second != 0).sum())) == (4, 0)


def test_without_it_nothing_is_taken_away(monkeypatch):
    monkeypatch.setattr(adalora.AdaLora, "after_step", lambda *_: None)
    assert set(run(6)[1]) == {8}


def test_a_training_too_short_for_it_leaves_the_budget_alone():
    _, left = run(1)
    assert left == [8]


def test_what_is_kept_has_one_shape_before_and_after():
    each, _ = run(8)
    fresh = tune(made("bert"), "adalora", start_rank=4, rank=2, at=("attn_v",))
    shapes = {name: x.shape for name, x in each.attached.kept().items()}
    assert shapes == {name: x.shape for name, x in fresh.attached.kept().items()}
    fresh.attached.put(each.attached.kept())
    with torch.no_grad():
        torch.testing.assert_close(logits(fresh.model.eval(), "bert"), logits(each.model.eval(), "bert"))
