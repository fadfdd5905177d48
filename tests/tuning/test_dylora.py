"""DyLoRA: every prefix of the rows is a LoRA of its own, and each step trains one."""

import pytest
import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.methods.dylora import METHOD, Nested
from cutaway.tuning.tune import tune
from tuning.models import logits, made


def random(rank=4, only_last=False):
    each = Nested(rank, 6, 5, 8.0, only_last)
    torch.nn.init.normal_(each.b)
    return each


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_a_rank_is_the_lora_of_the_first_rows(rank):
    each, x = random(), torch.randn(2, 6)
    delta = sum(8.0 / rank * torch.outer(each.b[:, i], each.a[i]) for i in range(rank)).detach()
    each.wanted, each.drawn = rank, 1 if rank > 1 else 2
    each.eval()
    torch.testing.assert_close(each.difference(x), x @ delta.T)
    torch.testing.assert_close(each.built(), delta)
    each.train()
    assert not torch.allclose(each.difference(x), x @ delta.T)
    each.drawn = rank
    torch.testing.assert_close(each.difference(x), x @ delta.T)


@pytest.mark.parametrize(
    ("only_last", "learning"), [(False, [True, True, True, False]), (True, [False, False, True, False])]
)
def test_which_rows_a_step_moves(only_last, learning):
    each = random(only_last=only_last)
    each.drawn = 3
    each.difference(torch.randn(2, 6)).square().sum().backward()
    assert [bool(row.any()) for row in each.a.grad] == learning
    assert [bool(column.any()) for column in each.b.grad.T] == learning
    whole = random()
    whole.load_state_dict(each.state_dict())
    each.zero_grad()
    whole.drawn = 3
    x = torch.randn(2, 6)
    for module in (each, whole):
        module.difference(x).square().sum().backward()
    torch.testing.assert_close(each.a.grad[2], whole.a.grad[2])  # what does learn, learns as without the option


def test_ranks_are_drawn_for_all_projections_together_and_all_of_them():
    torch.manual_seed(0)
    each = tune(made("bert"), "dylora", rank=4)
    seen = []
    for step in range(1, 201):
        drawn = {beside.drawn for beside in each.attached.besides.values()}
        assert len(drawn) == 1
        seen += drawn
        each.after_step(step, 200)
    assert all(30 <= seen.count(b) <= 70 for b in (1, 2, 3, 4))  # of 200, 50 are expected, with a deviation of 6


def test_at_another_rank_it_is_merged_as_it_works():
    each = tune(made("bert"), "dylora", rank=4)
    for beside in each.attached.besides.values():
        torch.nn.init.normal_(beside.b)
    with torch.no_grad():
        full = logits(each.model, "bert")
        each.attached.at_rank(2)
        half = logits(each.model, "bert")
    assert not torch.allclose(full, half)
    merged = each.merge()
    with torch.no_grad():
        torch.testing.assert_close(logits(merged, "bert"), half, atol=1e-5, rtol=1e-5)


def test_ranks_that_are_not_there():
    each = tune(made("bert"), METHOD.name, rank=4)
    for rank in (0, 5):
        with pytest.raises(CutawayError, match="trained for 1 to 4"):
            each.attached.at_rank(rank)
    with pytest.raises(CutawayError, match="rank is 17: give at least 1, at most 16"):
        tune(made("bert"), METHOD.name, rank=17)
