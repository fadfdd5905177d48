"""Relaxed scores: nervaluate's own on whole files, counts by hand, and nothing better than a wholly right answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate import Evaluator

from cutaway.core.errors import CutawayError
from cutaway.tagging import schemes
from cutaway.tagging.relaxed import COUNTS, WAYS, relaxed
from cutaway.tagging.schemes import Span

OF_NERVALUATE = {"strict": "strict", "exact": "exact", "partial": "partial", "type": "ent_type"}

tag_lists = st.lists(
    st.integers(1, 9).flatmap(
        lambda n: st.tuples(*[st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=n, max_size=n)] * 2)
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(tag_lists)
def test_the_numbers_are_nervaluates(pairs):
    there, found = ([schemes.spans(tags) for tags in some] for some in zip(*pairs, strict=True))
    written = [
        [schemes.tags(spans, len(tags), "IOB2") for spans, tags in zip(some, of, strict=True)]
        for some, of in ((there, [a for a, _ in pairs]), (found, [b for _, b in pairs]))
    ]
    results = Evaluator(written[0], written[1], tags=["A", "B"], loader="list").evaluate()
    ours = relaxed(there, found)
    for way in WAYS:
        theirs, mine = results["overall"][OF_NERVALUATE[way]], getattr(ours, way)
        assert [getattr(mine, name) for name in COUNTS] == [getattr(theirs, name) for name in COUNTS]
        for name in ("precision", "recall", "f1"):
            assert getattr(mine, name).mean == pytest.approx(getattr(theirs, name), abs=1e-6)
    for kind, of_kind in results["entities"].items():
        mine = relaxed(there, found, type=kind)
        assert mine.type.f1.mean == pytest.approx(of_kind["ent_type"].f1, abs=1e-6)


def test_counts_by_hand():
    """Right; right words, wrong type; half of the words; wrong at all; missed; spurious."""
    there = [[Span(0, 2, "A"), Span(3, 4, "A"), Span(5, 8, "B"), Span(9, 11, "B"), Span(12, 13, "A")], []]
    found = [[Span(0, 2, "A"), Span(3, 4, "B"), Span(5, 7, "B"), Span(10, 12, "A")], [Span(0, 1, "B")]]
    scores = relaxed(there, found)

    def counts(way: str) -> list[int]:
        return [getattr(getattr(scores, way), name) for name in COUNTS]

    assert counts("strict") == [1, 3, 0, 1, 1]
    assert counts("exact") == [2, 2, 0, 1, 1]
    assert counts("partial") == [2, 0, 2, 1, 1]
    assert counts("type") == [2, 2, 0, 1, 1]
    assert counts("muc") == [4, 4, 0, 2, 2]
    assert scores.partial.f1.mean == pytest.approx((2 + 2 / 2) / 5)
    assert scores.muc.precision.mean == pytest.approx(4 / 10)
    assert scores.strict.f1.low <= scores.strict.f1.mean <= scores.strict.f1.high
    assert str(scores).splitlines()[-1].startswith("muc      F1 0.400 [")
    assert scores.to_dict()["type"]["correct"] == 2


def test_a_near_miss_takes_no_place_of_a_right_one():
    """Nested answers, the wrong one first: nervaluate alone would take it for the match."""
    scores = relaxed([[Span(0, 4, "A")]], [[Span(0, 2, "A"), Span(0, 4, "A")]])
    assert (scores.strict.correct, scores.strict.spurious) == (1, 1)
    assert relaxed([[Span(0, 2, "A"), Span(0, 4, "A")]], [[Span(0, 4, "A")]]).strict.missed == 1


@settings(max_examples=12, deadline=None)
@given(tag_lists)
def test_bounds(pairs):
    there, found = ([schemes.spans(tags) for tags in some] for some in zip(*pairs, strict=True))
    scores = relaxed(there, found)
    assert scores.strict.f1.mean <= min(scores.exact.f1.mean, scores.type.f1.mean) + 1e-6
    assert scores.exact.f1.mean <= scores.partial.f1.mean + 1e-6
    muc = (scores.type.f1.mean + scores.exact.f1.mean) / 2
    assert scores.muc.f1.mean == pytest.approx(muc, abs=1e-6)
    whole = relaxed(there, there)
    if any(there):
        assert all(getattr(whole, way).f1.mean == 1 for way in (*WAYS, "muc"))


def test_bad_input_is_one_line():
    with pytest.raises(CutawayError, match="as many of both"):
        relaxed([[]], [[], []])
    with pytest.raises(CutawayError, match="at least 1"):
        relaxed([], [])
