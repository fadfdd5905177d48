"""BOFT against its equation: orthogonal blocks, and a scale for each output."""

import pytest
import torch

from cutaway.tuning.methods import boft
from cutaway.tuning.tune import tune
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("gpt2", "attn_qkv")])
def test_the_input_is_turned_and_the_output_scaled(family, role):
    work = at_work(family, "boft", role, block=4)
    (free,), s = work.tensors["boft_R"], work.tensors["boft_s"].flatten()
    q = (free - free.mT) / 2
    one = torch.eye(4).expand_as(q)
    r = torch.block_diag(*(one + q) @ torch.linalg.inv(one - q))
    torch.testing.assert_close(r @ r.T, torch.eye(16), atol=1e-5, rtol=1e-5)
    assert work.says(s[:, None] * (work.weight @ r))
    assert not work.says(s[:, None] * (work.weight @ r.T))
    assert not work.says(work.weight @ r)
    assert not work.says(s[:, None] * work.weight)


def test_it_is_counted():
    assert boft.count(made("bert"), boft.Options(block=8, at=("ffn_up",))) == 2 * (16 * 8 + 32)


def test_nothing_is_compiled(monkeypatch):
    from peft.tuners.boft import layer

    def compiled():
        raise AssertionError("peft wants to compile its extension")

    real = layer.get_fbd_cuda
    monkeypatch.setattr(layer, "_FBD_CUDA", None)
    monkeypatch.setattr(layer, "get_fbd_cuda", lambda: real() if layer._FBD_CUDA is not None else compiled())
    tune(made("bert"), "boft", block=4)
    with pytest.raises(AssertionError, match="compile"):
        layer.get_fbd_cuda()
