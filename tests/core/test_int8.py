"""8-bit layers: near the layers they stand for, exact where rounding loses nothing, a quarter of the size."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import cutaway.core.int8 as int8
from cutaway.core.int8 import Int8Embedding, Int8Linear, quantise, to_int8


@given(st.integers(1, 5), st.integers(1, 64), st.floats(1e-3, 1e3))
def test_rounding_is_off_by_half_a_step_at_most(rows, width, size):
    x = torch.randn(rows, width) * size
    whole, scale = to_int8(x)
    assert whole.dtype == torch.int8
    assert ((whole * scale - x).abs() <= scale / 2 * 1.001).all()


def test_zeros_stay_zeros():
    whole, scale = to_int8(torch.zeros(2, 3))
    assert not (whole * scale).any()


def test_what_fits_into_8_bits_is_exact():
    layer = nn.Linear(64, 32)
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-127, 128, (32, 64)).float())
        layer.weight[:, 0] = 127
    x = torch.randint(-127, 128, (3, 5, 64)).float()
    x[..., 0] = 127
    torch.testing.assert_close(Int8Linear(layer)(x), layer(x), atol=1e-2, rtol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_near_the_one_it_stands_for(bias):
    torch.manual_seed(0)
    layer, x = nn.Linear(256, 128, bias=bias), torch.randn(4, 7, 256) * torch.rand(4, 7, 1) * 10
    wanted, found = layer(x), Int8Linear(layer)(x)
    assert ((found - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max() < 0.02


def test_rows_do_not_disturb_one_another():
    """A scale for the whole tensor would lose the small row beside the large one."""
    layer = Int8Linear(nn.Linear(64, 64))
    x = torch.randn(2, 64) * torch.tensor([[1000.0], [0.001]])
    assert torch.equal(layer(x)[1], layer(x[1:])[0])


def test_rounding_towards_zero_would_be_noticed(monkeypatch):
    torch.manual_seed(0)
    layer, x = nn.Linear(256, 64), torch.randn(64, 256)

    def off() -> float:
        return float(((Int8Linear(layer)(x) - layer(x)).norm() / layer(x).norm()).detach())

    right = off()
    monkeypatch.setattr(
        int8, "to_int8", lambda x: ((x / (s := x.abs().amax(-1, keepdim=True) / 127)).trunc().to(torch.int8), s)
    )
    assert off() > 1.5 * right


def test_a_model_is_changed_where_it_is_worth_it():
    model = nn.Sequential(nn.Embedding(100, 32), nn.Linear(32, 64), nn.Linear(64, 2), nn.LSTM(2, 2))
    ids = torch.randint(100, (3, 5))
    wanted = model[1](model[0](ids))
    quantise(model)
    kinds = [type(layer) for layer in model]
    assert kinds == [Int8Embedding, Int8Linear, nn.Linear, nn.LSTM]
    assert not [name for name, _ in model[:2].named_parameters()]
    found = model[1](model[0](ids))
    assert (found - wanted).norm() / wanted.norm() < 0.03
    held = sum(x.numel() * x.element_size() for x in model[:2].state_dict().values())
    assert held < (100 * 32 + 64 * 32) * 4 / 3
