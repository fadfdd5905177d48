"""Decoders that give every word a tag, held to enumeration: what they learn, what they find, how sure they are."""

import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy

from cutaway.tagging import schemes
from cutaway.tagging.decoders import crf, softmax
from cutaway.tagging.schemes import Span

WIDTH, LABELS = 5, ("A", "B")
KINDS = {
    "softmax": lambda scheme: softmax.DECODER.build(WIDTH, LABELS, softmax.Options(scheme=scheme)),
    "crf": lambda scheme: crf.DECODER.build(WIDTH, LABELS, crf.Options(scheme=scheme)),
}


@pytest.fixture(params=itertools.product(KINDS, ("IOB2", "BIOES")), ids="-".join)
def decoder(request):
    kind, scheme = request.param
    torch.manual_seed(0)
    made = KINDS[kind](scheme)
    with torch.no_grad():
        made.project.weight.mul_(3)
        if kind == "crf":
            for parameter in made.chain.parameters():
                parameter.mul_(20)
    return made


def sentences(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(len(lengths), max(lengths), WIDTH), torch.tensor(lengths)


def enumerated(decoder, features: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The probability of every sequence that the scheme allows, by hand."""
    scores = decoder.project(features).double()
    transition, start, end = (x.double() for x in decoder.chain.scores())
    follows, begins, ends = schemes.allowed(decoder.tags, decoder.scheme.name)
    found = {}
    for tags in itertools.product(range(len(decoder.tags)), repeat=len(features)):
        if begins[tags[0]] and ends[tags[-1]] and all(follows[a][b] for a, b in itertools.pairwise(tags)):
            steps = sum(transition[a, b] for a, b in itertools.pairwise(tags))
            found[tags] = (
                start[tags[0]] + end[tags[-1]] + steps + sum(scores[i, t] for i, t in enumerate(tags))
            ).item()
    total = torch.tensor(list(found.values())).logsumexp(0)
    return {tags: float((torch.tensor(score) - total).exp()) for tags, score in found.items()}


@torch.no_grad()
def test_the_likeliest_sequence_and_the_probability_of_its_spans(decoder):
    features, lengths = sentences(4, 1, 3, 4)
    answers = decoder.decode(features, lengths)
    seen = 0
    for row, length, found in zip(features, lengths.tolist(), answers, strict=True):
        every = enumerated(decoder, row[:length])
        read = {tags: schemes.spans([decoder.tags[t] for t in tags]) for tags in every}
        assert [each.span for each in found] == read[max(every, key=every.get)]
        for span, confidence in found:
            wanted = sum(p for tags, p in every.items() if span in read[tags])
            assert confidence == pytest.approx(wanted, abs=1e-4)
            seen += 1
    assert seen >= 3


@torch.no_grad()
def test_a_span_that_might_go_on_is_less_sure(decoder, monkeypatch):
    """Under IOB2 the tags of a span say nothing of its end: without the look at the word behind it confidences are too high."""
    features, lengths = sentences(4, 4, 4)
    right = [x.confidence for some in decoder.decode(features, lengths) for x in some]
    monkeypatch.setattr(decoder, "goes_on", torch.zeros_like(decoder.goes_on))
    wrong = [x.confidence for some in decoder.decode(features, lengths) for x in some]
    if decoder.scheme.name == "IOB2":
        assert max(b - a for a, b in zip(right, wrong, strict=True)) > 0.01
    else:
        assert right == pytest.approx(wrong)


@torch.no_grad()
def test_uncertainty_is_that_of_the_least_sure_word(decoder):
    features, lengths = sentences(3, 2)
    found = decoder.uncertainty(features, lengths)
    for row, length, unsure in zip(features, lengths.tolist(), found.tolist(), strict=True):
        every = enumerated(decoder, row[:length])
        marginals = torch.zeros(length, len(decoder.tags))
        for tags, p in every.items():
            marginals[range(length), list(tags)] += p
        assert unsure == pytest.approx(1 - float(marginals.amax(1).amin()), abs=1e-4)


def test_what_is_learned_is_minus_log_p(decoder):
    features, lengths = sentences(4, 2)
    spans = [[Span(0, 2, "A"), Span(3, 4, "B")], [Span(1, 2, "B")]]
    targets = decoder.targets(spans, lengths.tolist())
    losses = decoder.losses(features, lengths, targets)
    for row, length, tags, loss in zip(features, lengths.tolist(), targets["target.tags"], losses, strict=True):
        wanted = tuple(tags[:length].tolist())
        if isinstance(decoder, softmax.Softmax):
            by_hand = cross_entropy(decoder.project(row[:length]), tags[:length], reduction="sum")
        else:
            by_hand = -torch.tensor(enumerated(decoder, row[:length])[wanted]).log()
        torch.testing.assert_close(loss, by_hand, atol=1e-4, rtol=1e-4)


def test_spans_of_unknown_types_are_left_out_of_what_is_learned(decoder):
    known = decoder.targets([[Span(0, 1, "A")]], [2])["target.tags"]
    both = decoder.targets([[Span(0, 1, "A"), Span(1, 2, "unheard of")]], [2])["target.tags"]
    assert torch.equal(known, both)


@torch.no_grad()
def test_only_what_the_scheme_allows_is_found_unless_that_is_wanted():
    free = softmax.DECODER.build(WIDTH, LABELS, softmax.Options(constrained=False))
    tied = softmax.DECODER.build(WIDTH, LABELS, softmax.Options(constrained=True))
    tied.load_state_dict({**free.state_dict(), **{k: x for k, x in tied.state_dict().items() if "chain" in k}})
    features, lengths = sentences(6, 6, 6, 6)
    plain = free.project(features).argmax(-1)
    read = [schemes.spans([free.tags[t] for t in row]) for row in plain.tolist()]
    assert [[x.span for x in some] for some in free.decode(features, lengths)] == read
    follows, begins, _ = schemes.allowed(free.tags, "IOB2")
    broken = [
        not begins[row[0]] or not all(follows[a][b] for a, b in itertools.pairwise(row)) for row in plain.tolist()
    ]
    assert any(broken)
    best = tied.chain.best(tied.project(features), lengths).tags[:, 0]
    for row in best.tolist():
        assert begins[row[0]]
        assert all(follows[a][b] for a, b in itertools.pairwise(row))


def test_softmax_has_no_transitions_to_learn():
    made = KINDS["softmax"]("IOB2")
    assert {name for name, x in made.named_parameters() if x.requires_grad} == {"project.weight", "project.bias"}
