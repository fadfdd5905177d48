"""OFT against its equation: the input turned, block by block, by Cayley's orthogonal matrices."""

import pytest
import torch

from cutaway.tuning.methods import oft
from tuning.equations import at_work
from tuning.models import made


def turned(free, block):
    """R = diag((I + Q_i)(I − Q_i)⁻¹), from what is above the diagonal of each Q_i."""
    rows, cols = torch.triu_indices(block, block, 1)
    blocks = []
    for values in free:
        q = torch.zeros(block, block)
        q[rows, cols] = values
        q = q - q.T
        one = torch.eye(block)
        blocks.append((one + q) @ torch.linalg.inv(one - q))
    return torch.block_diag(*blocks)


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("gpt2", "attn_qkv")])
def test_the_input_is_turned(family, role):
    work = at_work(family, "oft", role, block=4, terms=0)
    r = turned(work.tensors["oft_R.weight"], 4)
    torch.testing.assert_close(r @ r.T, torch.eye(16), atol=1e-5, rtol=1e-5)
    assert work.says(work.weight @ r)
    assert not work.says(work.weight @ r.T)
    assert not work.says(work.weight)


def test_a_series_comes_near_the_inverse():
    def error(terms):
        work = at_work("bert", "oft", "attn_v", 0.1, block=4, terms=terms)
        r = turned(-work.tensors["oft_R.weight"], 4)
        return (work.y - (work.x @ (work.weight @ r).T + work.bias)).abs().max()

    assert error(9) < 1e-4
    assert error(9) < 0.1 * error(5) < 0.1 * error(2)


def test_it_is_counted():
    assert oft.count(made("bert"), oft.Options(block=8, at=("attn_q",))) == 2 * 2 * (8 * 7 // 2)
