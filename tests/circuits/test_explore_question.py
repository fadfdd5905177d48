"""What the page may ask: every bound is checked, every mistake is one line."""

import json

import pytest

from cutaway import CutawayError, Site
from cutaway.circuits.explore.question import Bounds, Patch, Question, head_of

BOUNDS = Bounds(layers=3, heads=4)
GOOD = {
    "phrase": "The Frozen Kettle Bank",
    "answer": "FKB",
    "second": "The Quiet Maple Tower",
    "heads": ["....", ".a.p", "aaaa"],
    "ablation": "zero",
    "patch": {"site": "2.resid_pre", "at": "C1"},
}


def read(**changed) -> Question:
    return Question.read({**GOOD, **changed}, BOUNDS)


def test_a_whole_question():
    question = read()
    assert question.in_state("p") == {Site(1, "z", 3)}
    assert question.in_state("a") == {Site(1, "z", 1), *(Site(2, "z", head) for head in range(4))}
    assert question.patch == Patch(Site(2, "resid_pre"), "C1")
    assert question.needs_second
    assert read(patch={"site": "m0", "at": 3}).patch == Patch(Site(0, "mlp_out"), 3)
    assert read(patch={"site": "m0"}).patch == Patch(Site(0, "mlp_out"), None)


def test_only_a_phrase():
    question = Question.read({"phrase": "The Frozen Kettle Bank"}, BOUNDS)
    assert question.heads == ("....",) * 3
    assert not question.needs_second
    assert Question.read({"phrase": "x", "heads": ["a..."] * 3, "ablation": "second"}, BOUNDS).needs_second


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "JSON object"),
        (None, "JSON object"),
        ("The Frozen Kettle Bank", "JSON object"),
        ({}, "missing"),
        ({"phrase": "  \n "}, "empty"),
        ({"phrase": 3}, "must be a text"),
        ({"phrase": ["a"]}, "must be a text"),
        ({"phrase": "x" * 601}, "at most 600"),
        ({"phrase": "x" * 10_000}, "at most 600"),
        ({"phrase": "x", "answer": "y" * 601}, "at most 600"),
        ({"phrase": "x\0y"}, "no text"),
        ({"phrase": "x\x1b[31m"}, "no text"),
        ({"phrase": json.loads('"\\ud800"')}, "no text"),
        ({"phrase": "x", "second": json.loads('"a\\udfffb"')}, "no text"),
        ({"phrase": "x", "path": "/etc/passwd"}, "no others"),
        ({"phrase": "x", "model": "../../secret"}, "no others"),
        ({"phrase": "x", "ablation": "../mean"}, "role, mean, zero, second"),
        ({"phrase": "x", "ablation": ["mean"]}, "role, mean, zero, second"),
        ({"phrase": "x", "heads": "...."}, "3 texts of 4"),
        ({"phrase": "x", "heads": ["...."]}, "3 texts of 4"),
        ({"phrase": "x", "heads": ["....", "....", "....."]}, "3 texts of 4"),
        ({"phrase": "x", "heads": ["....", "....", 4]}, "3 texts of 4"),
        ({"phrase": "x", "heads": ["....", "....", "..x."]}, "kept"),
        ({"phrase": "x", "patch": "m0"}, "JSON object"),
        ({"phrase": "x", "patch": {"site": "m0", "file": "x"}}, "no others"),
        ({"phrase": "x", "patch": {"at": "C1"}}, "short text"),
        ({"phrase": "x", "patch": {"site": "m3"}}, "up to 2"),
        ({"phrase": "x", "patch": {"site": "0.0"}}, "0.resid_pre or m0"),
        ({"phrase": "x", "patch": {"site": "a0"}}, "0.resid_pre or m0"),
        ({"phrase": "x", "patch": {"site": "../../etc"}}, "cannot read site"),
        ({"phrase": "x", "patch": {"site": "9" * 5000 + ".resid_pre"}}, "short text"),
        ({"phrase": "x", "patch": {"site": "m0", "at": True}}, "everywhere"),
        ({"phrase": "x", "patch": {"site": "m0", "at": 1.5}}, "everywhere"),
        ({"phrase": "x", "patch": {"site": "m0", "at": ["C1"]}}, "everywhere"),
        ({"phrase": "x", "patch": {"site": "m0", "at": "\0"}}, "no text"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_every_mistake_is_one_line(data, said):
    with pytest.raises(CutawayError, match=said) as caught:
        Question.read(data, BOUNDS)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("text", ["3.0", "0.4", "m0", "0.0.q", "9.9", "x", "", None, 4, "0.0/../x", "٣.٠"])
def test_heads_that_the_model_has_not(text):
    with pytest.raises(CutawayError):
        head_of(text, BOUNDS)


def test_a_head_that_it_has():
    assert head_of("2.3", BOUNDS) == Site(2, "z", 3)


@pytest.mark.parametrize(
    "text", ["The “Café” Ünit – 日本 🙂", "<script>alert('1')</script>", 'a "quoted" one', "two\nlines\tand a tab"]
)
def test_any_text_is_allowed(text):
    assert read(phrase=text).phrase == text
