"""VeRA against its equation: two vectors about shared random matrices."""

import pytest
import torch

from cutaway.tuning.methods import vera
from cutaway.tuning.tune import tune
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("bert", "ffn_up"), ("gpt2", "attn_qkv")])
def test_a_projection_has_scaled_random_matrices_beside_it(family, role):
    work = at_work(family, "vera", role, rank=5)
    kept = work.each.attached.kept()
    a, b = kept["base_model.vera_A"], kept["base_model.vera_B"]
    d, e = work.tensors["vera_lambda_d"], work.tensors["vera_lambda_b"]
    assert work.says(work.weight + torch.diag(e) @ b @ torch.diag(d) @ a)
    assert not work.says(work.weight + b @ torch.diag(d) @ a)
    assert not work.says(work.weight + torch.diag(e) @ b @ a)


def test_the_matrices_are_shared_and_do_not_learn():
    each = tune(made("bert"), "vera", rank=vera.Options().rank, at=("attn_q", "ffn_up"))
    layers = [layer for _, layer in each.attached.layers()]
    assert len(layers) == 4
    assert len({layer.vera_A["default"].data_ptr() for layer in layers}) == 1
    assert not layers[0].vera_A["default"].requires_grad
    assert torch.equal(next(iter(each.trained().values())), torch.zeros(16))
