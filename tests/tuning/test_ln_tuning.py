"""LN-Tuning: gains and biases of norms, computed by hand."""

import pytest
import torch

from cutaway.tuning.methods import ln_tuning
from cutaway.tuning.tune import tune
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_norm_has_the_gain_and_the_bias_that_were_learned(family):
    work = at_work(family, "ln_tuning", "norm")
    gain, bias = work.tensors["ln_tuning_layers.weight"], work.tensors["ln_tuning_layers.bias"]
    centred = work.x - work.x.mean(-1, keepdim=True)
    normal = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
    assert torch.allclose(work.y, gain * normal + bias, atol=1e-2)
    assert not torch.allclose(work.y, work.weight * normal + work.bias, atol=1e-1)


def test_norms_in_layers_are_meant_and_others_can_be():
    assert ln_tuning.count(made("llama"), ln_tuning.Options()) == 2 * 2 * 16
    each = tune(made("llama"), "ln_tuning", at=("norm", "model.norm"))
    assert each.count().trained == (2 * 2 + 1) * 16
