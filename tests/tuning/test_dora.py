"""DoRA against its equation: the direction of a weight with a difference of low rank, times a magnitude."""

import pytest

from cutaway.tuning.methods import dora
from tuning.equations import at_work
from tuning.models import made


@pytest.mark.parametrize(("family", "role"), [("bert", "attn_v"), ("gpt2", "attn_qkv")])
def test_a_projection_is_magnitude_times_direction(family, role):
    work = at_work(family, "dora", role, rank=3, alpha=6)
    a, b, m = (work.tensors[f"lora_{name}"] for name in ("A.weight", "B.weight", "magnitude_vector"))
    new = work.weight + 6 / 3 * b @ a
    assert work.says(m[:, None] * new / new.norm(dim=1, keepdim=True))
    assert not work.says(new)
    assert not work.says(m[:, None] * new / new.norm(dim=0, keepdim=True)[:, :1])
    assert not work.says(m[:, None] * new / work.weight.norm(dim=1, keepdim=True))


def test_magnitudes_are_more_than_lora_has():
    options = dora.Options(rank=2, at=("attn_q",))
    assert dora.count(made("bert"), options) == 2 * (2 * (16 + 16) + 16)
