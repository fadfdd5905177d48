"""KronA against Kronecker products that are built entry by entry."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.krona import METHOD, Kronecker, Options, divisor
from cutaway.tuning.tune import tune
from tuning.models import made


def product(a, b):
    """(A ⊗ B)[i p + k, j q + l] = A[i, j] B[k, l]."""
    (m, n), (p, q) = a.shape, b.shape
    return torch.tensor([[a[i // p, j // q] * b[i % p, j % q] for j in range(n * q)] for i in range(m * p)])


@pytest.mark.parametrize(("a", "b"), [((2, 3), (3, 5)), ((4, 1), (1, 6)), ((1, 1), (3, 2))])
def test_it_is_the_product_without_building_it(a, b):
    each = Kronecker(a, b, scale=0.5)
    torch.nn.init.normal_(each.b)
    delta = 0.5 * product(each.a.detach(), each.b.detach())
    x = torch.randn(2, 7, a[1] * b[1])
    torch.testing.assert_close(each.difference(x), x @ delta.T)
    torch.testing.assert_close(each.built(), delta)
    if a == (2, 3):  # the others commute
        assert not torch.allclose(each.difference(x), x @ (0.5 * product(each.b.detach(), each.a.detach())).T)


def test_a_difference_may_have_full_rank():
    each = tune(made("bert"), "krona")
    beside = next(iter(each.attached.besides.values()))
    torch.nn.init.normal_(beside.b)
    assert torch.linalg.matrix_rank(beside.built()) == 16


def test_shapes_and_counts():
    assert [divisor(n, 0, "a_in") for n in (768, 16, 24, 7, 1)] == [24, 4, 4, 1, 1]
    each = tune(made("gpt2"), "krona", at=("ffn_up",), a_out=2, a_in=8)
    assert {tuple(p.shape) for p in each.trained().values()} == {(2, 8), (32, 2)}
    assert METHOD.count(made("gpt2"), Options(at=("ffn_up",), a_out=2, a_in=8)) == 2 * (2 * 8 + 32 * 2)
    model = made("bert")
    with pytest.raises(CutawayError, match="a_out is 5, which does not divide 16: give one of 1, 2, 4, 8, 16"):
        tune(model, "krona", a_out=5)
    assert not hasattr(model, "tuned_with")
