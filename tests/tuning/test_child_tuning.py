"""Child-Tuning D and F: which entries of the gradient reach the optimiser."""

import copy

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.child_tuning_d import METHOD as D
from cutaway.tuning.methods.child_tuning_f import METHOD as F
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def loss(model):
    return logits(model, "bert").square().mean()


def test_a_step_of_d_is_a_step_with_the_gradient_masked():
    each, plain = tune(made("bert"), D.name, share=0.3), made("bert")
    each.prepare((0,), lambda seed: logits(each.model, "bert", seed=seed).square().mean(1))
    masks = {name: torch.zeros_like(plain.get_parameter(name)) for name in each.attached.changes}
    for name, change in each.attached.changes.items():
        masks[name].view(-1)[change.places.long()] = 1.0
    assert sum(int(mask.sum()) for mask in masks.values()) == each.count().trained

    for model, learned in ((each.model, each.trained().values()), (plain, plain.parameters())):
        optimizer = torch.optim.SGD(learned, lr=0.1)
        loss(model).backward()
        if model is plain:
            for name, p in plain.named_parameters():
                p.grad *= masks.get(name, torch.zeros(()))
        optimizer.step()
    merged = each.merge()
    for name, p in plain.named_parameters():
        torch.testing.assert_close(merged.get_parameter(name), p, atol=1e-6, rtol=1e-5)
    assert any(not torch.equal(p, q) for p, q in zip(merged.parameters(), made("bert").parameters(), strict=True))


def gradients(each):
    each.model.zero_grad()
    loss(each.model).backward()
    return {name: p.grad.clone() for name, p in each.trained().items()}


def dense():
    model = made("bert")
    loss(model).backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_f_keeps_a_share_of_the_gradient_and_scales_it(keep):
    found, whole = gradients(tune(made("bert"), F.name, keep=keep)), dense()
    entries = kept = 0
    for name, gradient in found.items():
        there = whole[name] != 0
        ratio = gradient[there] / whole[name][there]
        assert bool(((ratio == 0) | ((ratio - 1 / keep).abs() < 1e-3)).all())
        entries, kept = entries + int(there.sum()), kept + int((ratio != 0).sum())
    assert kept / entries == pytest.approx(keep, abs=4 * (keep * (1 - keep) / entries) ** 0.5)


def test_f_has_the_gradient_as_its_mean():
    each, whole = tune(made("bert"), F.name, keep=0.5), dense()
    name = "classifier.weight"
    total = torch.zeros_like(whole[name])
    for step in range(1, 201):
        total += gradients(each)[name] / 200
        each.after_step(step, 200)
    sd = whole[name].abs() / 200**0.5  # of a mean of 200 that are 0 or twice as much
    assert bool(((total - whole[name]).abs() <= 4.5 * sd).all())
    assert not torch.allclose(total * 0.5, whole[name], rtol=0.2)  # without the division by p


def test_f_draws_once_for_each_step():
    each = tune(made("bert"), F.name)
    first, again = gradients(each), gradients(each)
    assert all(torch.equal(first[name], again[name]) for name in first)
    each.after_step(1, 2)
    assert any(not torch.equal(first[name], x) for name, x in gradients(each).items())


def test_a_copy_of_f_is_masked_too_and_a_removed_one_is_not():
    each = tune(made("bert"), F.name)
    copied = copy.deepcopy(each)
    one, other = gradients(each), gradients(copied)
    assert all(torch.equal(one[name], other[name]) for name in one)
    bare = each.remove()
    loss(bare).backward()
    assert all(torch.equal(p.grad, dense()[name]) for name, p in bare.named_parameters())


@pytest.mark.parametrize(("name", "option"), [(D.name, "share"), (F.name, "keep")])
def test_shares_that_make_no_sense(name, option):
    for value in (0.0, 1.1):
        with pytest.raises(CutawayError, match="give more than 0, at most 1"):
            tune(made("bert"), name, **{option: value})
