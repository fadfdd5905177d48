"""Full fine-tuning is training, and nothing more."""

import copy

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.full import METHOD, Options
from cutaway.tuning.tune import tune
from tuning.models import logits, made


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_step_is_that_of_the_model_without_anything(family):
    plain, each = made(family), tune(made(family), "full")
    for model, learned in ((plain, plain.parameters()), (each.model, each.trained().values())):
        optimizer = torch.optim.SGD(learned, lr=0.1)
        logits(model, family).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), each.model.parameters(), strict=True))
    stopped = copy.deepcopy(plain)
    next(stopped.parameters()).data.zero_()  # the comparison would notice
    assert not all(torch.equal(p, q) for p, q in zip(stopped.parameters(), each.model.parameters(), strict=True))


def test_some_parts_and_a_head():
    model = made("bert")
    each = tune(model, "full", at=("ffn_up",), also=("classifier",))
    named = {name for name, _ in model.named_parameters() if "intermediate.dense" in name or "classifier" in name}
    assert each.trained().keys() == named
    assert METHOD.count(model, Options(at=("ffn_up",))) == 2 * (16 * 32 + 32)
    with pytest.raises(CutawayError, match="nearest are"):
        tune(made("bert"), "full", at=("ffn_upp",))


def test_a_head_that_learns_anyway_may_be_named():
    assert len(tune(made("bert"), "full", also=("classifier",)).trained()) == len(list(made("bert").parameters()))
