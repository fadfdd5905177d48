"""(IA)³ against its equations: outputs scaled, and the input of what goes out of the feed-forward block."""

import pytest
import torch

from cutaway.tuning.methods import ia3
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_k"), ("gpt2", "attn_qkv"), ("llama", "attn_v")])
def test_keys_and_values_are_scaled(family, role):
    work = at_work(family, "ia3", role)
    scale = work.tensors["ia3_l"].flatten()
    assert work.gives(scale * (work.x @ work.weight.T + work.bias))
    assert not work.says(work.weight)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
def test_activations_are_scaled(family):
    work = at_work(family, "ia3", "ffn_down")
    scale = work.tensors["ia3_l"].flatten()
    assert work.says(work.weight @ torch.diag(scale))
    assert len(scale) == work.x.shape[-1] > 16
    assert not work.says(work.weight)


def test_both_attentions_of_a_decoder_are_scaled():
    outputs, inputs = ia3.split(made("t5"), ia3.Options().at)
    assert len(outputs) == 2 * 2 + 2 * 4
    assert len(inputs) == 4
    assert sum("EncDecAttention.k" in name for name in outputs) == 2
