"""SoRA: gates between the two factors, and the proximal step that closes them."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.sora import METHOD, Gated
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def test_the_difference_is_the_sum_over_open_gates():
    each, x = Gated(3, 6, 5, alpha=12.0), torch.randn(2, 6)
    torch.nn.init.normal_(each.b)
    with torch.no_grad():
        each.gate.copy_(torch.tensor([0.5, 0.0, -2.0]))
        delta = 4.0 * (0.5 * torch.outer(each.b[:, 0], each.a[0]) - 2.0 * torch.outer(each.b[:, 2], each.a[2]))
    torch.testing.assert_close(each.difference(x), x @ delta.T)
    torch.testing.assert_close(each.built(), delta)
    with torch.no_grad():
        each.gate[1] = 1.0  # a gate that opens is noticed
    assert not torch.allclose(each.difference(x), x @ delta.T)


def test_a_step_solves_the_proximal_problem():
    """T(g) is the z with the smallest ½ (z − g)² + ξ |z|, here found by trying."""
    each = tune(made("bert"), "sora", rank=4, threshold=0.3)
    gate = next(iter(each.attached.besides.values())).gate
    start = torch.tensor([0.75, -0.4, 0.2, -0.3])
    with torch.no_grad():
        gate.copy_(start)
    each.after_step(1, 1)
    tried = torch.linspace(-1, 1, 2001)
    best = tried[(0.5 * (tried - start[:, None]) ** 2 + 0.3 * tried.abs()).argmin(1)]
    torch.testing.assert_close(gate.detach(), best, atol=1e-3, rtol=0)
    assert not torch.allclose(start, best, atol=1e-3)
    assert gate.tolist()[2:] == [0.0, 0.0]
    assert next(iter(each.attached.ranks().values())) == 2


def test_closed_gates_stay_out_of_what_is_merged_and_do_not_stop_the_others():
    each = tune(made("bert"), "sora", rank=4, threshold=10.0)
    for beside in each.attached.besides.values():
        torch.nn.init.normal_(beside.b)
    with torch.no_grad():
        assert not torch.allclose(logits(each.model, "bert"), logits(made("bert"), "bert"))
    each.after_step(1, 1)
    assert set(each.attached.ranks().values()) == {0}
    merged = each.merge()
    assert all(torch.equal(p, q) for p, q in zip(merged.parameters(), made("bert").parameters(), strict=True))


def test_options_that_make_no_sense():
    with pytest.raises(CutawayError, match="give at least 0"):
        tune(made("bert"), METHOD.name, threshold=-1.0)
    with pytest.raises(CutawayError, match="rank is 0"):
        tune(made("bert"), METHOD.name, rank=0)
