"""The forward and backward algorithms as products against plain sums of logarithms, also where scores are far apart."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cutaway.tagging import forward_backward
from cutaway.tagging.crf import CRF, FORBIDDEN
from cutaway.tagging.forward_backward import log_partition


def case(seed: int, tags: int, lengths: list[int], scale: float = 2.0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

    shape = (len(lengths), max(lengths), tags)
    return drawn(*shape), drawn(tags, tags), drawn(tags), drawn(tags), torch.tensor(lengths)


def plainly(emissions: Tensor, transition: Tensor, start: Tensor, end: Tensor, lengths: Tensor) -> Tensor:
    """The forward algorithm in logarithms, sentence by sentence."""
    found = []
    for scores, n in zip(emissions, lengths.tolist(), strict=True):
        alpha = start + scores[0]
        for t in range(1, n):
            alpha = (alpha[:, None] + transition).logsumexp(0) + scores[t]
        found.append((alpha + end).logsumexp(0))
    return torch.stack(found)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 5), st.lists(st.integers(1, 8), min_size=1, max_size=4),
    st.sampled_from([0.1, 2.0, 50.0]),
)  # fmt: skip
def test_values_and_every_slope(seed, tags, lengths, scale):
    *scores, held = case(seed, tags, lengths, scale)
    weights = torch.randn(len(lengths), dtype=torch.float64)
    slopes = []
    for way in (log_partition, plainly):
        given = [x.clone().requires_grad_() for x in scores]
        value = way(*given, held)
        slopes.append((value.detach(), *torch.autograd.grad((value * weights).sum(), given, materialize_grads=True)))
    for ours, wanted in zip(*slopes, strict=True):
        assert torch.allclose(ours, wanted, atol=1e-8, rtol=1e-8)


def test_a_backward_pass_through_the_wrong_way_is_noticed(monkeypatch):
    """The slope of a transition is not that of its reverse; and a scale that is forgotten changes the values."""
    *scores, held = case(0, 3, [5, 3])
    given = [x.requires_grad_() for x in scores]
    (slope,) = torch.autograd.grad(log_partition(*given, held).sum(), given[1])
    assert not torch.allclose(slope, slope.T, atol=1e-3)
    right = log_partition(*scores, held)
    monkeypatch.setattr(forward_backward, "TINY", 10.0)
    assert not torch.allclose(log_partition(*scores, held), right, atol=1e-3)


def test_scores_that_are_hundreds_apart():
    """Single precision goes in, and a tag that may not stand there is 300 nats likelier by itself: the legal ones count."""
    emissions, transition, start, end, held = case(1, 4, [6, 6, 2])
    transition[0, 1] = transition[2, 1] = FORBIDDEN
    start[1] = FORBIDDEN
    transition[1, 1] = transition[3, 1] = FORBIDDEN
    emissions[..., 1] += 300
    wanted = plainly(emissions, transition, start, end, held)
    found = log_partition(*(x.float() for x in (emissions, transition, start, end)), held)
    assert torch.allclose(found.double(), wanted, rtol=1e-5)


def test_half_precision_goes_in_and_comes_out():
    *scores, held = case(2, 4, [6, 3], 1.0)
    found = log_partition(*(x.bfloat16() for x in scores), held)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.double(), plainly(*scores, held), rtol=0.02)


def test_what_stands_behind_the_end_is_not_looked_at():
    emissions, *scores, held = case(3, 3, [5, 2])
    spoiled = emissions.clone()
    spoiled[1, 2:] = torch.nan
    spoiled.requires_grad_()
    value = log_partition(spoiled, *scores, held)
    assert torch.equal(value, log_partition(emissions, *scores, held))
    (slope,) = torch.autograd.grad(value.sum(), spoiled)
    assert (slope[1, 2:] == 0).all()
    assert torch.allclose(slope[1, :2].sum(1), torch.ones(2, dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_the_one_best_is_the_first_of_two(seed, tags, lengths):
    emissions, transition, start, end, held = case(seed, tags, lengths)
    crf = CRF(tags).double()
    for parameter, x in zip((crf.transition, crf.start, crf.end), (transition, start, end), strict=True):
        parameter.data = x
    one, two = crf.best(emissions, held), crf.best(emissions, held, 2)
    assert torch.equal(one.tags, two.tags[:, :1])
    assert torch.allclose(one.score, two.score[:, :1])
