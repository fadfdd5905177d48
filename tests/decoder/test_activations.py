"""The tanh form of GELU is PyTorch's, whatever the shape, the size and the gradient."""

import pytest
import torch
import torch.nn.functional as F

from cutaway.decoder import activations
from cutaway.decoder.activations import gelu_tanh


@pytest.mark.parametrize("shape", [(0, 3), (5,), (7, 3, 11), (3, activations.PIECE // 2 + 1)])
def test_in_pieces_it_is_the_same(shape):
    x = 4 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(gelu_tanh(x), F.gelu(x, approximate="tanh"), rtol=1e-6, atol=1e-6)


def test_large_numbers_and_strides():
    x = torch.tensor([[-1e30, -60.0, -0.0], [0.0, 60.0, 1e30]])
    with torch.no_grad():
        assert gelu_tanh(x.T).tolist() == F.gelu(x.T, approximate="tanh").tolist()


def test_it_has_a_gradient():
    x = torch.linspace(-3, 3, 7, requires_grad=True)
    (ours,) = torch.autograd.grad(gelu_tanh(x).sum(), x)
    (theirs,) = torch.autograd.grad(F.gelu(x, approximate="tanh").sum(), x)
    assert torch.equal(ours, theirs)


def test_other_precisions_are_left_to_pytorch():
    x = torch.linspace(-3, 3, 7).bfloat16()
    with torch.no_grad():
        assert torch.equal(gelu_tanh(x), F.gelu(x, approximate="tanh"))
