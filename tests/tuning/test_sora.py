"""SoRA: gates between the two factors, and the proximal step that closes them."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.sora import METHOD, Gated, Options, threshold
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


def test_by_the_schedule_the_threshold_rises_in_stages():
    """Numbers as a table gives them; and a gate goes by as much as the threshold of each step."""
    options = Options(threshold=0.1, until=0.4, stages=4)
    found = [threshold(options, step, 8) for step in range(1, 9)]
    assert found == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4])
    assert {threshold(Options(threshold=0.1), step, 8) for step in range(1, 9)} == {0.1}
    each = tune(made("bert"), "sora", rank=4, threshold=0.1, until=0.4, stages=4)
    gate = next(iter(each.attached.besides.values())).gate
    with torch.no_grad():
        gate.fill_(5.0)
    for step in range(1, 9):
        each.after_step(step, 8)
    torch.testing.assert_close(gate.detach(), torch.full((4,), 3.0))


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
