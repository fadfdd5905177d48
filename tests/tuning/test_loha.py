"""LoHa against its equation: an elementwise product of two matrices of low rank."""

import pytest
import torch

from cutaway.tuning.methods import loha
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("gpt2", "attn_qkv")])
def test_the_difference_is_an_elementwise_product(family, role):
    work = at_work(family, "loha", role, rank=2, alpha=3)
    a1, b1, a2, b2 = (work.tensors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    assert work.says(work.weight + 3 / 2 * (a1 @ b1) * (a2 @ b2))
    assert not work.says(work.weight + 3 / 2 * (a1 * a2) @ (b1 * b2))
    assert not work.says(work.weight + (a1 @ b1) * (a2 @ b2))
    assert torch.linalg.matrix_rank((a1 @ b1) * (a2 @ b2)) == 4


def test_it_costs_twice_what_lora_does():
    assert loha.count(made("bert"), loha.Options(rank=2, at=("ffn_up",))) == 2 * 2 * 2 * (16 + 32)
