"""The FISH mask against squared gradients that are computed one example at a time, by another way."""

import pytest
import torch
from torch.func import functional_call, grad, vmap

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.fish_mask import METHOD, Options
from cutaway.tuning.tune import tune
from tuning.models import inputs, made

ANSWERS = torch.tensor([0, 2, 1])


def losses(model, seed):
    out = model(**inputs("bert", seed=seed)).logits
    return torch.nn.functional.cross_entropy(out, ANSWERS, reduction="none")


def squared(samples, *, apart=True):
    """Per parameter the mean of squared gradients; or, as a mistake would have it, the square of the mean gradient."""
    model = made("bert")
    weights = {name: p.detach() for name, p in model.named_parameters()}
    tokens = torch.cat([inputs("bert", seed=seed)["input_ids"] for seed in (0, 1)])[:samples]
    answers = ANSWERS.repeat(2)[:samples]

    def loss(weights, one, answer):
        out = functional_call(model, weights, kwargs={"input_ids": one[None]}).logits
        return torch.nn.functional.cross_entropy(out[0], answer)

    each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, tokens, answers)
    return {name: g.square().mean(0) if apart else g.mean(0).square() for name, g in each.items() if ".layer." in name}


def top(scores, k):
    ranked = sorted(
        ((x, name, i) for name, s in scores.items() for i, x in enumerate(s.flatten().tolist())), reverse=True
    )
    return {(name, i) for _, name, i in ranked[:k]}


def chosen(samples=6, **options):
    each = tune(made("bert"), "fish_mask", share=0.02, samples=samples, **options)
    each.prepare((0, 1), lambda seed: losses(each.model, seed))
    return {(name, i) for name, change in each.attached.changes.items() for i in change.places.tolist()}


@pytest.mark.parametrize("samples", [6, 4])
def test_the_entries_with_the_largest_mean_squared_gradient_are_chosen(samples):
    found = chosen(samples)
    assert found == top(squared(samples), len(found))
    assert found != top(squared(samples, apart=False), len(found))


def test_the_number_of_samples_counts():
    assert chosen(6) != chosen(1)


def test_the_model_is_as_before_it_was_looked_at():
    each = tune(made("bert"), "fish_mask")
    each.model.train()
    each.prepare((0,), lambda seed: losses(each.model, seed))
    assert each.model.training
    assert all(p.grad is None for p in each.model.parameters())
    assert sum(p.requires_grad for p in each.model.parameters()) == len(each.trained())


def test_counts_and_no_examples():
    entries = sum(p.numel() for name, p in made("bert").named_parameters() if ".layer." in name)
    assert METHOD.count(made("bert"), Options(share=0.02)) == round(0.02 * entries)
    each = tune(made("bert"), "fish_mask")
    with pytest.raises(CutawayError, match="no examples"):
        each.prepare((), lambda seed: losses(each.model, seed))
