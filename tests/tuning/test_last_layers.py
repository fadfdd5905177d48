"""The last layers learn; no gradient goes further down."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.last_layers import METHOD, Options
from cutaway.tuning.tune import tune
from tuning.models import logits, made


@pytest.mark.parametrize(
    ("family", "last"), [("bert", "bert.encoder.layer.1"), ("gpt2", "transformer.h.1"), ("t5", "decoder.block.1")]
)
def test_the_last_layer_learns_and_the_one_before_it_has_no_gradient(family, last):
    each = tune(made(family), "last_layers", layers=1)
    asked = []
    before = each.model.get_submodule(last.replace("1", "0"))
    before.register_forward_hook(
        lambda module, args, out: asked.append((out[0] if isinstance(out, tuple) else out).requires_grad)
    )
    logits(each.model, family).square().mean().backward()
    assert each.trained().keys() == {name for name, _ in made(family).named_parameters() if name.startswith(last)}
    assert all(p.grad is not None for p in each.trained().values())
    assert asked == [False]

    deeper = tune(made(family), "last_layers", layers=2)  # and it is asked where one layer more learns
    deeper.model.get_submodule(last.replace("1", "0")).register_forward_hook(
        lambda module, args, out: asked.append((out[0] if isinstance(out, tuple) else out).requires_grad)
    )
    logits(deeper.model, family)
    assert asked == [False, True]


def test_counts_and_numbers_that_make_no_sense():
    layer = 4 * (16 * 16 + 16) + 2 * 16 * 32 + 32 + 16 + 4 * 16
    assert METHOD.count(made("bert"), Options(layers=1)) == layer
    assert METHOD.count(made("bert"), Options(layers=2)) == 2 * layer
    for n in (0, 3):
        with pytest.raises(CutawayError, match="give one of 1 to 2"):
            tune(made("bert"), "last_layers", layers=n)
    with pytest.raises(CutawayError, match="0 that are known"):
        tune(torch.nn.Linear(2, 2), "last_layers")
