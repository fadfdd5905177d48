"""One layer's share: the published formula, its gradient, and that a broken one is noticed."""

import pytest
import torch
from torch import Tensor

from cutaway.similarity import term as kernel
from cutaway.similarity.term import squares, term


def published(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Eq. 1 as LPIPS's authors compute it."""
    u, v = (x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for x in (a, b))
    return ((u - v).pow(2) * weight[:, None, None]).sum(1)


def features(n: int = 2, m: int = 2, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(k, 6, 4, 5, generator=draw, dtype=torch.float64).relu() for k in (n, m))
    a[0, :, 1, 2] = 0
    b[-1, :, 0, 0] = 0
    return a.to(dtype), b.to(dtype), torch.rand(6, generator=draw, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 1), (1, 3)])
def test_values_are_those_of_the_published_formula(n, m):
    a, b, weight = features(n, m)
    torch.testing.assert_close(term(a, b, weight), published(a, b, weight), rtol=1e-12, atol=0)
    torch.testing.assert_close((squares(a, b) * weight[:, None, None]).sum(1), term(a, b, weight), rtol=1e-12, atol=0)
    a, b, weight = features(n, m, torch.float32)
    torch.testing.assert_close(term(a, b, weight), published(a, b, weight), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 1), (1, 3)])
def test_gradients_are_those_of_finite_differences(n, m):
    a, b, weight = features(n, m)
    a, b = (x.abs() + 0.1 for x in (a, b))  # no place is all 0, where there is no slope
    assert torch.autograd.gradcheck(term, [x.requires_grad_() for x in (a, b, weight)])
    assert torch.autograd.gradgradcheck(term, (a, b, weight))


def test_gradients_are_those_of_the_published_formula_where_it_has_any():
    a, b, weight = (x.requires_grad_() for x in features())
    ours = torch.autograd.grad(term(a, b, weight).sum(), (a, b, weight))
    theirs = torch.autograd.grad(published(a, b, weight).sum(), (a, b, weight))
    assert theirs[0].isnan().any()
    assert theirs[1].isnan().any()
    for x, y in zip(ours, theirs, strict=True):
        assert x.isfinite().all()
        torch.testing.assert_close(x[y.isfinite()], y[y.isfinite()], rtol=1e-9, atol=1e-12)
    assert (ours[0][0, :, 1, 2] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_identical_features_are_0_apart_with_finite_slopes(dtype):
    a, _, weight = features(dtype=dtype)
    a[1] *= 1e-6
    a.requires_grad_()
    found = term(a, a.detach().clone(), weight)
    assert (found == 0).all()
    found.sum().backward()
    assert a.grad.isfinite().all()


def test_half_precision_is_compared_in_float32():
    a, b, weight = features(dtype=torch.bfloat16)
    found = term(a, b, weight)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, published(a.float(), b.float(), weight.float()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("broken", ["no eps", "eps in the root", "no norm"])
def test_a_broken_kernel_is_noticed(monkeypatch, broken):
    """Another ε, or none, changes values by more than the tests above allow; so does leaving the norm out."""
    a, b, weight = features()
    a, b = a * 1e-9, b * 1e-9
    right = published(a, b, weight)
    torch.testing.assert_close(term(a, b, weight), right, rtol=1e-12, atol=0)

    def wrong(a: Tensor, b: Tensor) -> Tensor:
        lengths = [x.pow(2).sum(1, keepdim=True) for x in (a, b)]
        match broken:
            case "no eps":
                u, v = (x / n.sqrt().clamp_min(1e-300) for x, n in zip((a, b), lengths, strict=True))
            case "eps in the root":
                u, v = (x / (n + 1e-10).sqrt() for x, n in zip((a, b), lengths, strict=True))
            case _:
                u, v = a, b
        return u - v

    monkeypatch.setattr(kernel, "_difference", wrong)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(term(a, b, weight), right, rtol=1e-6, atol=0)


def test_a_broken_gradient_is_noticed(monkeypatch):
    a, b, weight = (x.abs() + 0.1 for x in features())
    monkeypatch.setattr(
        kernel, "_through", lambda slope, unit, factor, stretch: slope * factor
    )  # as if ‖a‖ were constant
    given = [x.requires_grad_() for x in (a, b, weight)]
    assert not torch.autograd.gradcheck(term, given, raise_exception=False)
