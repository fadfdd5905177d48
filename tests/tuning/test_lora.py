"""LoRA against its equation."""

import pytest

from cutaway.tuning.methods import lora
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("gpt2", "attn_qkv"), ("llama", "ffn_up")])
@pytest.mark.parametrize("rslora", [False, True])
def test_a_projection_has_a_difference_of_low_rank(family, role, rslora):
    work = at_work(family, "lora", role, rank=4, alpha=6, rslora=rslora)
    a, b = work.tensors["lora_A.weight"], work.tensors["lora_B.weight"]
    assert (a.shape[0], b.shape[1]) == (4, 4)
    assert work.says(work.weight + (6 / 2 if rslora else 6 / 4) * b @ a)
    assert not work.says(work.weight + (6 / 4 if rslora else 6 / 2) * b @ a), "by √r, or by r"
    assert not work.says(work.weight)


def test_roles_that_a_family_does_not_have_are_left_out():
    options = lora.Options(rank=2)
    assert lora.count(made("bert"), options) == 2 * 2 * 2 * (16 + 16)  # layers, q and v, rank
    assert lora.count(made("gpt2"), options) == 2 * 2 * (16 + 48)  # one projection for all three
