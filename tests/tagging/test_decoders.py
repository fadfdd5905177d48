"""Decoders against the sum over everything they can say, and what each of them can say."""

import inspect
import time
from collections.abc import Iterator
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.tagging import schemes
from cutaway.tagging.combination import check_combination, check_flat, check_nested
from cutaway.tagging.data import MOST_WORDS
from cutaway.tagging.decoders import pointer, rnn, span
from cutaway.tagging.parts import Decoder, decoders
from cutaway.tagging.schemes import Span, strict_spans

WIDTH, LABELS = 6, ("A", "B")
OURS = ("rnn", "pointer", "span")
MODULES = {"rnn": rnn, "pointer": pointer, "span": span}
SMALL = {"rnn": {"hidden": 8, "tag_dim": 4}, "pointer": {"hidden": 8}, "span": {"hidden": 8}}


def made(name: str, *, labels: tuple[str, ...] = LABELS, seed: int = 0, scale: float = 1.5, **options) -> Decoder:
    """A random decoder in double precision, without dropout."""
    torch.manual_seed(seed)
    part = decoders()[name]
    built = part.build(WIDTH, labels, part.options(**{**SMALL.get(name, {}), **options})).double().eval()
    for parameter in built.parameters():
        if parameter.requires_grad:
            parameter.data = scale * torch.randn_like(parameter) / max(1, parameter.shape[-1]) ** 0.5
    return built


def features_of(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(lengths), max(lengths), WIDTH, generator=generator, dtype=torch.float64), torch.tensor(
        lengths
    )


def flat_spans(length: int, labels: tuple[str, ...] = LABELS, longest: int = 99) -> Iterator[list[Span]]:
    """Every set of spans of a sentence that do not overlap."""
    if length <= 0:
        yield []
        return
    for rest in flat_spans(length - 1, labels, longest):
        yield rest
    for size, kind in product(range(1, min(length, longest) + 1), labels):
        for rest in flat_spans(length - size, labels, longest):
            yield [*rest, Span(length - size, length, kind)]


def loss_of(decoder: Decoder, features: Tensor, spans: list[Span], length: int) -> float:
    held = torch.tensor([length])
    return decoder.losses(features[None, :length], held, decoder.targets([spans], [length])).item()


# --- likelihoods ------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["rnn", "pointer"]), st.integers(1, 4), st.integers(0, 10**6), st.sampled_from(["IOB2", "BIOES"])
)
def test_what_can_be_said_has_probability_one_in_all(name, length, seed, scheme):
    """Every set of spans once, nothing else: exp(−loss) sums to one."""
    decoder = made(name, seed=seed, **({"scheme": scheme} if name == "rnn" else {}))
    features = features_of([length], seed)[0][0]
    total = sum(torch.tensor(-loss_of(decoder, features, s, length)).exp() for s in flat_spans(length))
    assert total.item() == pytest.approx(1.0, abs=1e-6)


def test_pairs_have_probability_one_in_all():
    """The span decoder's cells are independent: every labelling of the three cells of two words."""
    decoder = made("span")
    features, held = features_of([2])
    total = 0.0
    for kinds in product(range(3), repeat=3):
        target = torch.zeros(1, 2, 2, dtype=torch.long)
        target[0, 0, 0], target[0, 0, 1], target[0, 1, 1] = kinds
        total += (-decoder.losses(features, held, {"target.kinds": target})).exp().item()
    assert total == pytest.approx(1.0, abs=1e-9)


def test_the_pair_score_is_its_formula():
    """Equation 3, pair by pair; with beginnings and ends exchanged it is noticed."""
    decoder = made("span")
    features, _ = features_of([3])
    found = decoder.scores(decoder.starts(features), decoder.ends(features))[0]
    begin, end = decoder.starts(features)[0], decoder.ends(features)[0]
    for i, j, kind in product(range(3), range(3), range(3)):
        wanted = begin[i] @ decoder.pair[kind] @ end[j] + decoder.start(begin[i])[kind] + decoder.end(end[j])[kind]
        assert found[i, j, kind].item() == pytest.approx(wanted.item(), abs=1e-9)
    decoder.pair.data = decoder.pair.data.mT.contiguous()
    assert not torch.allclose(decoder.scores(decoder.starts(features), decoder.ends(features))[0], found, atol=1e-3)


def test_the_pointer_is_its_formula():
    """p(end) of the segment that begins at word 1, with an empty past, against plain sums; the length term is noticed."""
    decoder = made("pointer", longest=3)
    features, held = features_of([5])
    before = torch.randn(1, 1, 8, dtype=torch.float64)
    found = decoder.points(decoder.words(features), held, torch.tensor([[1]]), before)[0, 0]
    h = features[0]
    scores = torch.stack([
        decoder.point((decoder.candidate(h[e]) + decoder.begin(h[1]) + decoder.past(before[0, 0])).tanh())[0]
        + decoder.length[e - 1]
        for e in (1, 2, 3)
    ])  # fmt: skip
    assert torch.allclose(found, scores.log_softmax(0))
    decoder.length.data.zero_()
    assert not torch.allclose(
        decoder.points(decoder.words(features), held, torch.tensor([[1]]), before)[0, 0], found, atol=1e-3
    )


def test_the_recurrent_decoder_reads_its_last_tag():
    """Each step, by hand with an LSTM cell: the vector of the tag before stands beside the word. Teacher forcing, shifted by one
    word, is noticed."""
    decoder = made("rnn", scheme="IOB2", labels=("A",))
    features, held = features_of([3])
    tags = torch.tensor([[1, 2, 0]])  # B-A I-A O
    cell = torch.nn.LSTMCell(decoder.lstm.input_size, decoder.lstm.hidden_size).double()
    cell.load_state_dict({name.removesuffix("_l0"): x for name, x in decoder.lstm.state_dict().items()})
    state, loss = None, 0.0
    for t, (before, tag) in enumerate([(3, 1), (1, 2), (2, 0)]):
        state = cell(torch.cat([features[0, t], decoder.last.weight[before]])[None], state)
        scores = decoder.project(state[0])[0]
        if before in (0, 3):
            scores = scores[[0, 1]]  # I-A may not follow O, nor begin
        loss -= scores.log_softmax(0)[tag].item()
    assert decoder.losses(features, held, {"target.tags": tags}).item() == pytest.approx(loss, abs=1e-9)
    wrong = decoder.steps(features, tags, torch.arange(3)[None] == 2)[0].gather(2, tags[..., None]).sum()
    assert -wrong.item() != pytest.approx(loss, abs=1e-3)


# --- batches ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(OURS), st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(0, 10**6), st.integers(1, 3)
)
def test_padding_and_batch_order_change_nothing(name, lengths, seed, beam):
    decoder = made(name, seed=seed, **({"beam": beam} if name == "rnn" else {}))
    features, held = features_of(lengths, seed)
    spans = [decoder_spans(n, seed + i) for i, n in enumerate(lengths)]
    targets = decoder.targets(spans, lengths)
    losses, said = decoder.losses(features, held, targets), decoder.decode(features, held)
    unsure = decoder.uncertainty(features, held)
    spoiled = features.clone()
    for row, n in enumerate(lengths):
        spoiled[row, n:] = 1e3
    turned = decoder.targets(spans[::-1], lengths[::-1])
    assert torch.allclose(decoder.losses(spoiled.flip(0), held.flip(0), turned).flip(0), losses, atol=1e-8)
    assert [[s.span for s in some] for some in decoder.decode(spoiled, held)] == [
        [s.span for s in some] for some in said
    ]
    for row, n in enumerate(lengths):
        alone, one = features[row : row + 1, :n], held[row : row + 1]
        assert loss_of(decoder, features[row], spans[row], n) == pytest.approx(losses[row].item(), abs=1e-8)
        again = decoder.decode(alone, one)[0]
        assert [s.span for s in again] == [s.span for s in said[row]]
        assert [s.confidence for s in again] == pytest.approx([s.confidence for s in said[row]], abs=1e-6)
        assert decoder.uncertainty(alone, one).item() == pytest.approx(unsure[row].item(), abs=1e-6)
        assert 0 <= unsure[row] <= 1
        assert all(0 <= s.confidence <= 1 for s in said[row])


def decoder_spans(length: int, seed: int) -> list[Span]:
    every = list(flat_spans(min(length, 5)))
    return every[seed % len(every)]


@pytest.mark.parametrize("name", OURS)
def test_gradients_reach_every_parameter(name):
    decoder = made(name).train()
    features, held = features_of([6, 3])
    targets = decoder.targets([[Span(0, 2, "A"), Span(4, 5, "B")], []], [6, 3])
    decoder.losses(features.requires_grad_(), held, targets).sum().backward()
    for who, parameter in [*decoder.named_parameters(), ("features", features)]:
        if parameter.requires_grad:
            assert parameter.grad is not None, who
            assert parameter.grad.abs().sum() > 0, who


# --- what each can say ------------------------------------------------------------------------------------------------


def taught(name: str, spans: list[list[Span]], lengths: list[int], **options) -> Decoder:
    """A decoder whose scores say what it was given: trained on features that name the words, until it is sure."""
    torch.manual_seed(0)
    part = decoders()[name]
    given = {**options, **({"dropout": 0.0} if "dropout" in inspect.signature(part.options).parameters else {})}
    decoder = part.build(16, LABELS, part.options(**given))
    features = torch.randn(len(lengths), max(lengths), 16)
    held, targets = torch.tensor(lengths), decoder.targets(spans, lengths)
    optimizer = torch.optim.Adam([p for p in decoder.parameters() if p.requires_grad], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss = decoder.losses(features, held, targets).sum()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    decoder.eval()
    assert [[s.span for s in some] for some in decoder.decode(features, held)] == spans
    assert all(s.confidence > 0.9 for some in decoder.decode(features, held) for s in some)
    assert (decoder.uncertainty(features, held) < 0.1).all()
    return decoder


FLAT = [
    [Span(0, 1, "A"), Span(1, 2, "A"), Span(2, 5, "B"), Span(5, 7, "B")],  # touching, of one type and of two
    [],
    [Span(0, 6, "B")],  # the whole sentence
    [Span(2, 3, "B")],
]
LENGTHS = [8, 3, 6, 3]


@pytest.mark.parametrize("name", sorted(decoders()))
def test_every_decoder_says_what_it_was_taught(name):
    taught(name, FLAT, LENGTHS)


@pytest.mark.parametrize("options", [{"beam": 4}, {"scheme": "IOB2"}, {"scheme": "IOB2", "beam": 2}])
def test_the_recurrent_decoder_in_other_ways(options):
    taught("rnn", FLAT, LENGTHS, **options)


def test_spans_within_spans():
    nested = [[Span(0, 5, "A"), Span(0, 2, "B"), Span(1, 2, "A"), Span(3, 5, "B")], [Span(0, 1, "A")]]
    taught("span", nested, [6, 2])


@pytest.mark.parametrize("name", sorted(set(decoders()) - {"span"}))
def test_only_the_span_decoder_takes_spans_within_spans(name):
    with pytest.raises(CutawayError, match="overlap"):
        made(name).targets([[Span(0, 3, "A"), Span(1, 2, "B")]], [4])
    with pytest.raises(CutawayError, match="take span"):
        check_combination(["words"], "none", name, [[], [Span(0, 3, "A"), Span(1, 2, "B")]])
    check_combination(["words"], "none", "span", [[Span(0, 3, "A"), Span(1, 2, "B")]])


@pytest.mark.parametrize("name", OURS)
def test_unknown_types_are_left_out(name):
    decoder = made(name)
    with_it = decoder.targets([[Span(0, 1, "A"), Span(1, 3, "Z")]], [4])
    without = decoder.targets([[Span(0, 1, "A")]], [4])
    assert all(torch.equal(with_it[key], without[key]) for key in without)
    assert all(key.startswith("target.") for key in without)


@pytest.mark.parametrize("name", OURS)
def test_no_labels_at_all(name):
    decoder = made(name, labels=())
    features, held = features_of([4, 2])
    assert decoder.decode(features, held) == [[], []]
    losses = decoder.losses(features, held, decoder.targets([[], [Span(0, 1, "A")]], [4, 2]))
    assert losses.isfinite().all()


# --- searching --------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6))
def test_a_wide_beam_finds_the_best_of_all(length, seed):
    decoder = made("rnn", seed=seed, scheme="IOB2", beam=5**4, scale=3.0)
    features, held = features_of([length], seed)
    best = min(flat_spans(length), key=lambda spans: loss_of(decoder, features[0], spans, length))
    tags, steps = decoder.search(features, held)
    said = [decoder.tags[i] for i in tags[0].tolist()]
    assert schemes.spans(said) == sorted(best)
    assert -steps.sum().item() == pytest.approx(loss_of(decoder, features[0], best, length), abs=1e-8)


def test_a_beam_is_better_than_greed():
    """On many random decoders it never says anything less likely (at these widths), and somewhere something likelier."""
    better = 0
    for seed in range(40):
        features, held = features_of([5], seed)
        likelihood = [made("rnn", seed=seed, beam=b, scale=3.0).search(features, held)[1].sum() for b in (1, 300)]
        assert likelihood[1] >= likelihood[0] - 1e-9
        better += bool(likelihood[1] > likelihood[0] + 1e-6)
    assert better


@pytest.mark.parametrize("scheme", ["IOB2", "BIOES"])
def test_the_recurrent_decoder_keeps_to_its_scheme(scheme):
    decoder = made("rnn", scheme=scheme, beam=2, scale=4.0)
    lengths = torch.randint(1, 9, (40,)).tolist()
    features, held = features_of(lengths)
    for path, length in zip(decoder.search(features, held)[0].tolist(), lengths, strict=True):
        said = [decoder.tags[i] for i in path[:length]]
        assert strict_spans(said, scheme) == schemes.spans(said)
        assert schemes.tags(schemes.spans(said), length, scheme) == said


def test_the_pointer_covers_each_sentence_once():
    decoder = made("pointer", longest=3)
    lengths = [7, 1, 4]
    for segments, length in zip(decoder.walk(*features_of(lengths)), lengths, strict=True):
        assert [s.start for s in segments] == [0, *(s.end for s in segments[:-1])]
        assert segments[-1].end == length
        assert all(1 <= s.end - s.start <= 3 for s in segments)
        assert all(s.kind for s in segments if s.end - s.start > 1)


def test_spans_are_taken_from_the_surest_on():
    nested, flat = made("span"), made("span", nested=False)
    scored = [
        span.Scored(Span(0, 4, "A"), 0.9), span.Scored(Span(2, 6, "A"), 0.95), span.Scored(Span(3, 4, "B"), 0.5),
        span.Scored(Span(2, 6, "B"), 0.2), span.Scored(Span(6, 7, "B"), 0.4),
    ]  # fmt: skip
    assert [s.span for s in nested.taken(scored)] == [
        Span(2, 6, "A"),
        Span(2, 6, "B"),
        Span(3, 4, "B"),
        Span(6, 7, "B"),
    ]
    assert [s.span for s in flat.taken(scored)] == [Span(2, 6, "A"), Span(6, 7, "B")]


def test_pairs_in_parts_are_pairs_at_once(monkeypatch):
    decoder = made("span")
    features, held = features_of([6, 4])
    whole, unsure = decoder.decode(features, held), decoder.uncertainty(features, held)
    monkeypatch.setattr(span, "MOST", 1)
    for some, again in zip(whole, decoder.decode(features, held), strict=True):
        assert [s.span for s in again] == [s.span for s in some]
        assert [s.confidence for s in again] == pytest.approx([s.confidence for s in some])
    assert torch.allclose(decoder.uncertainty(features, held), unsure)


@pytest.mark.parametrize("name", sorted(decoders()))
def test_a_sentence_as_long_as_they_come(name):
    """Two thousand words, in seconds: nothing is gone through anew at every word."""
    torch.manual_seed(0)
    decoder = decoders()[name].build(8, LABELS, decoders()[name].options()).eval()
    features, held = torch.randn(1, MOST_WORDS, 8), torch.tensor([MOST_WORDS])
    started = time.perf_counter()
    decoder.decode(features, held)
    assert decoder.losses(features, held, decoder.targets([[Span(0, 2, "A")]], [MOST_WORDS])).isfinite().all()
    assert time.perf_counter() - started < 60


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "spans", "told"),
    [
        (check_flat, [Span(0, 2, "A"), Span(1, 3, "A")], "overlap"),
        (check_flat, [Span(0, 5, "A")], "within 4 words"),
        (check_nested, [Span(0, 2, "A"), Span(1, 3, "A")], "cross"),
        (check_nested, [Span(0, 2, "A"), Span(0, 2, "B")], "both A and B"),
        (check_nested, [Span(2, 2, "A")], "within 4 words"),
    ],
)
def test_spans_that_cannot_be_said(check, spans, told):
    with pytest.raises(CutawayError, match=told):
        check(spans, 4, "span")


def test_a_span_longer_than_the_pointer_reaches():
    with pytest.raises(CutawayError, match=r"set pointer\.longest"):
        made("pointer", longest=2).targets([[Span(0, 3, "A")]], [4])


@pytest.mark.parametrize(
    ("name", "options"),
    [("rnn", {"beam": 0}), ("rnn", {"hidden": 0}), ("pointer", {"longest": 0}), ("span", {"hidden": 0})],
)
def test_options_out_of_range_are_one_line(name, options):
    with pytest.raises(CutawayError, match=f"{name}: .* give at least 1") as caught:
        made(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "context", "decoder", "told"),
    [
        ([], "none", "crf", "no input"), (["words", "words"], "none", "crf", "twice"), (["word"], "none", "crf", "words"),
        (["words"], "bilstn", "crf", "bilstm"), (["words"], "none", "crff", "crf"),
    ],
)  # fmt: skip
def test_combinations_that_make_no_sense(inputs, context, decoder, told):
    with pytest.raises(CutawayError, match=told):
        check_combination(inputs, context, decoder)
