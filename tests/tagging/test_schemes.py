"""Tags and spans: read as conlleval reads them, written in every scheme, converted without loss."""

import warnings
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.core.errors import CutawayError
from cutaway.tagging.schemes import SCHEMES, Span, convert, guess, scheme, spans, strict_spans, tags

seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling", reason="seqeval is the oracle: pip install seqeval")


@st.composite
def sentences(draw, touching: bool = True) -> tuple[list[Span], int]:
    """Spans that do not overlap, in a sentence that holds them."""
    at, found = 0, []
    for _ in range(draw(st.integers(0, 5))):
        at += draw(st.integers(0 if touching else 1, 2))
        length = draw(st.integers(1, 3))
        found.append(Span(at, at + length, draw(st.sampled_from(["PER", "LOC", "a-b"]))))
        at += length
    return found, at + draw(st.integers(0, 2))


@given(sentences(), st.sampled_from([name for name in SCHEMES if name != "IO"]))
def test_spans_written_and_read_are_the_same(sentence, name):
    found, length = sentence
    written = tags(found, length, name)
    assert len(written) == length
    assert spans(written) == strict_spans(written, name) == found


@given(
    sentences(), st.sampled_from([n for n in SCHEMES if n != "IO"]), st.sampled_from([n for n in SCHEMES if n != "IO"])
)
def test_conversion_loses_nothing(sentence, one, other):
    found, length = sentence
    written = tags(found, length, one)
    assert convert(convert(written, other), one) == written


@given(sentences(touching=False))
def test_io_loses_nothing_where_no_spans_touch(sentence):
    assert spans(tags(*sentence, "IO")) == sentence[0]


def conlleval(said: list[str]) -> list[tuple[int, int, str]]:
    """seqeval's reading of one sentence; its ends are inclusive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [(start, end + 1, kind) for kind, start, end in seqeval.get_entities(said)]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["O", *(f"{p}-{t}" for p in "BIES" for t in "XY")]), max_size=9))
def test_any_sequence_is_read_as_conlleval_reads_it(said):
    """Broken sequences included."""
    assert spans(said) == conlleval(said)


def test_every_short_sequence_is_read_as_conlleval_reads_it():
    every = ["O", *(f"{p}-{t}" for p in "BIES" for t in "XY")]
    for said in product(every, repeat=4):
        assert spans(said) == conlleval(list(said)), said


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(["O", *(f"{p}-{t}" for p in "BIES" for t in "XY")]), max_size=9),
    st.sampled_from(["IOB2", "BIOES"]),
)
def test_strict_spans_are_those_of_seqeval_strict(said, name):
    from seqeval.scheme import IOB2, IOBES, Entities

    kept = {"IOB2": "OBI", "BIOES": "OBIES"}[name]
    said = [tag for tag in said if tag[0] in kept]
    wanted = Entities([said], {"IOB2": IOB2, "BIOES": IOBES}[name]).entities[0] if said else []
    assert set(strict_spans(said, name)) == {(e.start, e.end, e.tag) for e in wanted}


def test_a_span_that_breaks_the_rules_is_none_but_its_neighbours_stand():
    said = ["I-X", "O", "B-X", "I-X", "I-Y"]
    assert spans(said) == [(0, 1, "X"), (2, 4, "X"), (4, 5, "Y")]
    assert strict_spans(said, "IOB2") == [(2, 4, "X")]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ([["B-X", "I-X", "O"]], "IOB2"),
        ([["B-X", "E-X", "S-Y"]], "BIOES"),
        ([["B-X", "L-X", "U-Y"]], "BILOU"),
        ([["I-X", "B-X", "O"]], "IOB1"),
        ([["I-X", "I-X", "O"]], "IO"),
        ([["I-X", "E-X", "E-X"]], "IOE2"),
        ([["I-X", "E-X", "I-X"]], "IOE1"),
    ],
)
def test_the_scheme_is_guessed(said, name):
    assert guess(said) == name


def test_bad_tags_and_spans_are_named():
    for tag in ("LOC", "X-LOC", "B", "B-", "BI-LOC", "O-LOC", ""):
        with pytest.raises(CutawayError, match="is not a tag"):
            spans(["O", tag])
    with pytest.raises(CutawayError, match="no known scheme"):
        guess([["B-X", "I-X"], ["I-X", "E-X"], ["B-X", "L-X"]])
    with pytest.raises(CutawayError, match="overlap"):
        tags([Span(0, 2, "X"), Span(1, 3, "Y")], 3, "IOB2")
    with pytest.raises(CutawayError, match="within 2 words"):
        tags([Span(0, 3, "X")], 2, "IOB2")
    with pytest.raises(CutawayError, match="touch"):
        tags([Span(0, 1, "X"), Span(1, 2, "X")], 2, "IO")
    with pytest.raises(CutawayError, match="IOB2, IOB1"):
        scheme("IOB3")
