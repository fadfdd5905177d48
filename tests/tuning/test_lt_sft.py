"""Lottery-ticket sparse fine-tuning against the four steps of the paper, taken on a model without anything on it."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.lt_sft import METHOD
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def losses(model, seed):
    return logits(model, "bert", seed=seed).square().mean(1)


def undropped(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def prepared(**options):
    each = tune(undropped(made("bert")), METHOD.name, share=0.02, rate=1e-2, also=("classifier",), **options)
    each.prepare((0, 1, 2), lambda seed: losses(each.model, seed))
    return each


def moved(l1=0.0):
    """|θ¹ − θ⁰| after a training of the layers and the head."""
    model = undropped(made("bert"))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    layers = {name: p for name, p in model.named_parameters() if ".layer." in name}
    head = [p for name, p in model.named_parameters() if name.startswith("classifier")]
    optimizer = torch.optim.AdamW([*layers.values(), *head], lr=1e-2, weight_decay=0.0)
    for seed in (0, 1, 2):
        n = sum(p.numel() for p in layers.values())
        far = sum((p - before[name]).abs().sum() for name, p in layers.items()) / n
        optimizer.zero_grad()
        (losses(model, seed).mean() + l1 * far).backward()
        optimizer.step()
    return {name: (p - before[name]).abs().detach() for name, p in layers.items()}


def places(each):
    return {(name, i) for name, change in each.attached.changes.items() for i in change.places.tolist()}


@pytest.mark.parametrize("l1", [0.0, 30.0])
def test_what_moved_most_is_chosen(l1):
    each, far = prepared(l1=l1), moved(l1)
    found = places(each)
    kth = torch.cat([x.flatten() for x in far.values()]).topk(len(found)).values[-1]
    inside = {name: x.flatten() for name, x in far.items()}
    assert all(inside[name][i] >= kth - 1e-6 for name, i in found)
    first = {(name, i) for name, x in far.items() for i in range(x.numel())}
    assert not all(inside[name][i] >= kth - 1e-6 for name, i in list(first)[: len(found)])  # others would be noticed


def test_a_first_training_with_a_penalty_chooses_otherwise():
    assert places(prepared(l1=0.0)) != places(prepared(l1=30.0))


def test_it_begins_again_where_it_began():
    each = prepared()
    with torch.no_grad():
        assert torch.equal(logits(each.model, "bert"), logits(made("bert"), "bert"))
    assert all(p.grad is None for p in each.model.parameters())
    assert sum(p.requires_grad for p in each.model.parameters()) == len(each.trained())


def test_the_penalty_is_the_mean_distance_of_what_is_tuned():
    each = prepared(l1=2.0)
    assert tune(made("bert"), METHOD.name).loss() is None
    values = [change.values for change in each.attached.changes.values()]
    with torch.no_grad():
        for x in values:
            x.fill_(-0.25)
    assert each.loss().item() == pytest.approx(0.5)


def test_a_first_training_in_which_nothing_moves_is_told():
    each = tune(made("bert"), METHOD.name)
    with pytest.raises(CutawayError, match="nothing moved"):
        each.prepare((), lambda seed: losses(each.model, seed))
