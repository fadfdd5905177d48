"""HRA against its equation: a chain of reflections."""

import pytest
import torch

from cutaway.tuning.methods import hra
from cutaway.tuning.tune import tune
from tuning.equations import at_work
from tuning.models import made


def chain(vectors):
    """H₁ … H_r of the columns."""
    product = torch.eye(len(vectors))
    for u in vectors.T:
        product = product @ (torch.eye(len(u)) - 2 * torch.outer(u, u) / u.dot(u))
    return product


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("gpt2", "attn_qkv")])
def test_the_input_is_reflected(family, role):
    work = at_work(family, "hra", role, rank=4)
    h = chain(work.tensors["hra_u"])
    torch.testing.assert_close(h @ h.T, torch.eye(16), atol=1e-5, rtol=1e-5)
    assert work.says(work.weight @ h)
    assert not work.says(work.weight @ h.T)
    assert not work.says(work.weight @ chain(work.tensors["hra_u"][:, :3]))


def test_reflections_undo_each_other_at_the_beginning():
    each = tune(made("bert"), "hra", rank=hra.Options(rank=4).rank)
    for u in each.trained().values():
        torch.testing.assert_close(chain(u.detach()), torch.eye(16), atol=1e-5, rtol=1e-5)
