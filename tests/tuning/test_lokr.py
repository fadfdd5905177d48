"""LoKr against its equation: a Kronecker product."""

import numpy as np
import pytest
import torch

from cutaway.tuning.methods import lokr
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("bert", "ffn_up"), ("gpt2", "attn_qkv")])
def test_the_difference_is_a_kronecker_product(family, role):
    work = at_work(family, "lokr", role, rank=4, alpha=6)
    c, d = work.tensors["lokr_w1"], work.tensors["lokr_w2"]
    assert work.says(work.weight + 6 / 4 * torch.from_numpy(np.kron(c.numpy(), d.numpy())))
    assert not work.says(work.weight + 6 / 4 * torch.from_numpy(np.kron(d.numpy(), c.numpy())))
    assert not work.says(work.weight + torch.from_numpy(np.kron(c.numpy(), d.numpy())))


def test_the_larger_factor_is_of_low_rank_where_that_is_less():
    work = at_work("bert", "lokr", "ffn_up", rank=1, alpha=3, factor=2)
    c, b, a = (work.tensors[f"lokr_{name}"] for name in ("w1", "w2_a", "w2_b"))
    assert c.shape == (2, 2)
    assert work.says(work.weight + 3 * torch.kron(c, b @ a))
    assert not work.says(work.weight + torch.kron(c, b @ a))


@pytest.mark.parametrize("width", [1, 2, 12, 16, 17, 96, 127, 360, 768, 2304])
@pytest.mark.parametrize("factor", [-1, 1, 3, 4, 16, 500])
def test_factors_are_those_of_peft(width, factor):
    from peft.tuners.lokr.layer import factorization

    assert sorted(lokr.factors(width, factor)) == sorted(factorization(width, factor))


def test_it_is_counted_before_it_is_there():
    options = lokr.Options(rank=1, factor=2, at=("ffn_up",))
    assert lokr.count(made("bert"), options) == 2 * (2 * 2 + 1 * (16 + 8))
