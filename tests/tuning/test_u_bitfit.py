"""U-BitFit against a first training by hand."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.u_bitfit import METHOD, Options
from cutaway.tuning.tune import tune
from tuning.models import logits, made

SEEDS = (0, 1, 2, 3)


def losses(model, seed):
    return logits(model, "bert", seed=seed).square().mean(1)


def undropped():
    model = made("bert")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def prepared(share=0.1):
    each = tune(undropped(), METHOD.name, share=share, rate=1e-2)
    each.prepare(SEEDS, lambda seed: losses(each.model, seed))
    return {(name, i) for name, change in each.attached.changes.items() for i in change.places.tolist()}


def importance(*, by_gradient=True, signed=False):
    """|Σ δ ∂L/∂δ|, or, as a mistake would have it, |Σ δ|."""
    model = undropped().train()
    biases = {name: p for name, p in model.named_parameters() if name.endswith("bias") and ".layer." in name}
    start = {name: p.detach().clone() for name, p in biases.items()}
    found = {name: torch.zeros_like(p) for name, p in biases.items()}
    optimizer = torch.optim.AdamW(biases.values(), lr=1e-2, weight_decay=0.0)
    for seed in SEEDS:
        optimizer.zero_grad()
        losses(model, seed).mean().backward()
        for name, p in biases.items():
            delta = p.detach() - start[name]
            found[name] += delta * p.grad if by_gradient else delta
        optimizer.step()
    return found if signed else {name: x.abs() for name, x in found.items()}


def test_the_most_important_entries_are_chosen():
    found = prepared()
    scores = importance()
    kth = torch.cat([x.flatten() for x in scores.values()]).topk(len(found)).values[-1]
    assert all(scores[name][i] >= kth * (1 - 1e-4) for name, i in found)
    other = importance(by_gradient=False)
    ranked = sorted(((float(x), name, i) for name, s in other.items() for i, x in enumerate(s)), reverse=True)
    assert {(name, i) for _, name, i in ranked[: len(found)]} != found  # another criterion would be noticed


def test_counts_and_models_without_biases():
    n = sum(p.numel() for name, p in made("bert").named_parameters() if name.endswith("bias") and ".layer." in name)
    assert METHOD.count(made("bert"), Options(share=0.1)) == round(0.1 * n)
    with pytest.raises(CutawayError, match="no biases"):
        tune(made("llama"), METHOD.name)


def test_one_batch_is_not_enough_to_tell():
    each = tune(made("bert"), METHOD.name)
    with pytest.raises(CutawayError, match="two batches or more"):
        each.prepare((0,), lambda seed: losses(each.model, seed))
    with torch.no_grad():
        assert torch.equal(logits(each.model, "bert"), logits(made("bert"), "bert"))
