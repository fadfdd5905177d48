"""Sequential adapters against their equation, and where they stand."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods import adapter
from cutaway.tuning.tune import tune
from tuning.models import logits, made


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_what_comes_out_of_a_block_goes_through_a_small_network(activation):
    model = made("bert")
    each = tune(model, "adapter", width=4, activation=activation)
    place = "bert.encoder.layer.1.output.dense"
    beside = each.attached.besides[place]
    with torch.no_grad():
        for parameter in beside.parameters():
            parameter.normal_()
    seen = []
    host = model.get_submodule(place)
    hook = host.register_forward_hook(lambda module, args, out: seen.extend((args[0], out)))
    with torch.no_grad():
        logits(model, "bert")
        h = seen[0] @ host.weight.T + host.bias
        inner = {"gelu": torch.nn.GELU(), "relu": torch.nn.ReLU(), "silu": torch.nn.SiLU()}[activation](
            h @ beside.down.weight.T + beside.down.bias
        )
        expected = h + inner @ beside.up.weight.T + beside.up.bias
        torch.testing.assert_close(seen[1], expected)
        assert not torch.allclose(seen[1], expected - h), "without what goes past it"
    hook.remove()


def test_they_stand_behind_both_blocks_of_every_layer_or_where_one_says():
    names = {f"bert.encoder.layer.{i}.{name}" for i in (0, 1) for name in ("attention.output.dense", "output.dense")}
    assert tune(made("bert"), "adapter", width=4).attached.besides.keys() == names
    behind = tune(made("bert"), "adapter", width=4, at=("ffn_down",)).attached.besides
    assert behind.keys() == {name for name in names if "attention" not in name}
    assert adapter.count(made("bert"), adapter.Options(width=4)) == 4 * (2 * 4 * 16 + 4 + 16)


@pytest.mark.parametrize("width", [0, 16, 48])
def test_a_width_that_makes_no_sense_is_told_and_leaves_nothing(width):
    model = made("bert")
    with pytest.raises(CutawayError, match=f"width is {width}: give at least 1, and less than the model's 16"):
        tune(model, "adapter", width=width)
    assert not hasattr(model, "tuned_with")
    assert all(p.requires_grad for p in model.parameters())
