"""RandLoRA against its equation: a sum of scaled random matrices of low rank."""

import pytest
import torch

from cutaway.tuning.methods import randlora
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("bert", "ffn_down"), ("gpt2", "attn_qkv")])
def test_the_difference_is_a_sum_of_scaled_terms(family, role):
    work = at_work(family, "randlora", role, rank=5, alpha=10)
    kept = work.each.attached.kept()
    a, b = kept["base_model.randlora_A"][:, 0], kept["base_model.randlora_B"].flatten(1)
    scales, gains = work.tensors["randlora_lambda"], work.tensors["randlora_gamma"]
    out, into = work.weight.shape
    assert scales.shape == (5, 4)  # ⌈16 / 5⌉ terms
    # term j has every fourth of B's columns from the j-th on: an order of random ones that peft has chosen
    terms = [b[:, j::4] @ torch.diag(scales[:, j]) @ a @ torch.diag(gains[j]) for j in range(4)]
    delta = 10 / 5 * sum(terms)
    delta = delta if delta.shape == (out, into) else delta.T
    assert work.says(work.weight + delta)
    assert not work.says(work.weight + delta - 2 * (terms[0] if terms[0].shape == (out, into) else terms[0].T))
    assert not work.says(work.weight + delta / 2)


def test_the_smaller_the_terms_the_more_there_are():
    counts = [randlora.count(made("bert"), randlora.Options(rank=r, at=("attn_q",))) for r in (2, 4, 8)]
    assert counts == [2 * 8 * (2 + 16), 2 * 4 * (4 + 16), 2 * 2 * (8 + 16)]
