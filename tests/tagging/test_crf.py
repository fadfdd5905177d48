"""The CRF against the sum over every tag sequence, and what it may never say."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.tagging.crf import CRF
from cutaway.tagging.schemes import SCHEMES, allowed, scheme, strict_spans


def made(
    seed: int, n_tags: int, lengths: list[int], *, forbid: float = 0.0, scale: float = 2.0
) -> tuple[CRF, Tensor, Tensor]:
    """A random CRF with some transitions forbidden (never all), and emissions, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    follows = torch.rand(n_tags, n_tags, generator=generator) >= forbid
    follows.fill_diagonal_(True)
    crf = CRF(n_tags, follows=follows).double()
    for parameter in crf.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    emissions = scale * torch.randn(len(lengths), max(lengths), n_tags, generator=generator, dtype=torch.float64)
    return crf, emissions, torch.tensor(lengths)


def every_sequence(crf: CRF, emissions: Tensor, length: int) -> dict[tuple[int, ...], float]:
    """The score of each tag sequence of one sentence, term by term."""
    transition, start, end = (x.tolist() for x in crf.scores())
    emitted, found = emissions.tolist(), {}
    for path in product(range(len(start)), repeat=length):
        score = start[path[0]] + end[path[-1]]
        score += sum(emitted[t][y] for t, y in enumerate(path))
        found[path] = score + sum(transition[a][b] for a, b in pairwise(path))
    return found


cases = st.builds(
    made,
    seed=st.integers(0, 10**6),
    n_tags=st.integers(1, 4),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    forbid=st.sampled_from([0.0, 0.4]),
    scale=st.sampled_from([0.1, 2.0, 8.0]),
)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_partition_and_marginals_are_the_sums_over_all_sequences(case):
    crf, emissions, lengths = case
    log_z, marginals = crf.log_partition(emissions, lengths), crf.marginals(emissions, lengths)
    for row, length in enumerate(lengths.tolist()):
        scores = every_sequence(crf, emissions[row], length)
        weights = torch.tensor(list(scores.values()), dtype=torch.float64)
        assert log_z[row].item() == pytest.approx(weights.logsumexp(0).item(), abs=1e-8)
        p, paths = weights.softmax(0), torch.tensor(list(scores))
        for tag in range(crf.start.numel()):
            has = (paths == tag).double()
            assert marginals[row, :length, tag].tolist() == pytest.approx((p @ has).tolist(), abs=1e-8)
        assert (marginals[row, length:] == 0).all()


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(1, 6))
def test_the_best_sequences_are_the_best_of_all(case, n):
    crf, emissions, lengths = case
    found = crf.best(emissions, lengths, n)
    for row, length in enumerate(lengths.tolist()):
        scores = every_sequence(crf, emissions[row], length)
        ranked = sorted(scores.values(), reverse=True)[:n]
        kept = [s for s in found.score[row].tolist() if s > -torch.inf]
        assert kept == pytest.approx(ranked, abs=1e-8)
        paths = [tuple(path[:length]) for path in found.tags[row].tolist()[: len(kept)]]
        assert len(set(paths)) == len(paths)
        assert [scores[path] for path in paths] == pytest.approx(kept, abs=1e-8)
        assert (found.tags[row, :, length:] == -1).all()


@settings(max_examples=30, deadline=None)
@given(cases)
def test_probabilities_are_those_of_the_sequences(case):
    crf, emissions, lengths = case
    for row, length in enumerate(lengths.tolist()):
        scores = every_sequence(crf, emissions[row], length)
        n = len(scores)
        nll = crf(emissions[row, :length].expand(n, -1, -1), torch.tensor(list(scores)), lengths[row].expand(n))
        assert (-nll).exp().sum().item() == pytest.approx(1.0, abs=1e-8)


def test_padding_and_batch_order_change_nothing():
    crf, emissions, lengths = made(0, 4, [5, 2, 3])
    tags_of = torch.randint(4, (3, 5))
    alone = [crf(emissions[i : i + 1, :n], tags_of[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths)]
    spoiled = emissions.clone()
    spoiled[1, 2:], spoiled[2, 3:] = 1e6, -1e6
    other = tags_of.clone()
    other[1, 2:] = -1
    assert torch.allclose(crf(spoiled, other, lengths), torch.cat(alone))
    turned = torch.tensor([2, 0, 1])
    assert torch.allclose(crf(emissions[turned], tags_of[turned], lengths[turned]), torch.cat(alone)[turned])


def test_single_precision_and_gradients():
    """float32 with scores of the size that training makes; the gradient against finite differences."""
    crf, emissions, lengths = made(3, 6, [7, 4], forbid=0.3)
    exact = crf.log_partition(emissions, lengths)
    rough = crf.float().log_partition(emissions.float(), lengths)
    assert torch.allclose(rough.double(), exact, rtol=1e-5)
    crf = crf.double()
    assert torch.autograd.gradcheck(lambda e: crf.log_partition(e, lengths), emissions.requires_grad_())


@pytest.mark.parametrize("name", ["IOB2", "BIOES", "BILOU", "IOB1", "IOE1", "IOE2", "IO"])
def test_what_the_scheme_forbids_is_never_said(name):
    labels = _labels(name)
    follows, begins, ends = (torch.tensor(x) for x in allowed(labels, name))
    crf = CRF(len(labels), follows=follows, begins=begins, ends=ends)
    for parameter in crf.parameters():
        parameter.data.normal_()
    lengths = torch.randint(1, 9, (40,))
    emissions = 5 * torch.randn(40, 8, len(labels))
    for path, length in zip(crf.best(emissions, lengths).tags[:, 0].tolist(), lengths.tolist(), strict=True):
        said = [labels[i] for i in path[:length]]
        assert _valid(said, name), said
    unconstrained = CRF(len(labels)).best(emissions, lengths).tags[:, 0].tolist()
    if name != "IO":
        assert any(
            not _valid([labels[i] for i in p[:n]], name) for p, n in zip(unconstrained, lengths.tolist(), strict=True)
        )


def _labels(name: str) -> list[str]:
    return ["O", *(f"{prefix}-{kind}" for prefix in scheme(name).prefixes for kind in "XY")]


def _valid(said: list[str], name: str) -> bool:
    """Every word outside, or in a span that the scheme allows."""
    inside = {i for span in strict_spans(said, name) for i in range(span.start, span.end)}
    return all((tag == "O") != (i in inside) for i, tag in enumerate(said))


def test_all_that_is_allowed_can_be_said():
    """The constraint forbids nothing that the scheme can write."""
    for name in SCHEMES:
        labels = _labels(name)
        follows, begins, ends = allowed(labels, name)
        for path in product(range(len(labels)), repeat=3):
            said = [labels[i] for i in path]
            may = begins[path[0]] and ends[path[-1]] and all(follows[a][b] for a, b in pairwise(path))
            if _valid(said, name):
                assert may, (name, said)
            else:
                assert not may, (name, said)


def test_a_broken_forward_pass_is_noticed(monkeypatch):
    """With the transitions turned round, the sums differ."""
    crf, emissions, lengths = made(1, 3, [4])
    scores = crf.scores()
    monkeypatch.setattr(CRF, "scores", lambda self: (scores[0].T, *scores[1:]))
    wrong = crf.log_partition(emissions, lengths)
    monkeypatch.undo()
    assert (wrong - crf.log_partition(emissions, lengths)).abs() > 0.01


def test_bad_input_is_one_line():
    crf, emissions, lengths = made(0, 3, [2, 3])
    with pytest.raises(CutawayError, match="1 to 3 words"):
        crf.log_partition(emissions, torch.tensor([0, 3]))
    with pytest.raises(CutawayError, match="at least the 1 best"):
        crf.best(emissions, lengths, 0)
    with pytest.raises(CutawayError, match="at least 1 tag"):
        CRF(0)
