"""The protocol held to plain Python that shares nothing with it, to the published numbers, and to breaking it on purpose."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.core.errors import CutawayError
from cutaway.core.estimates import Estimate
from cutaway.entity_typing import scores
from cutaway.entity_typing.corpus import read_corpus
from cutaway.entity_typing.predictions import read_predictions
from cutaway.entity_typing.scores import SEEN, quick, score, seen_part
from cutaway.entity_typing.type_list import TypeList

LETTERS = "abcdef"
TYPES = TypeList(tuple(LETTERS), ("coarse", "coarse", "fine", "fine", "ultra-fine", "ultra-fine"))
SOME = st.lists(st.sampled_from(LETTERS), max_size=5)


def oracle(pairs):
    """Macro and micro precision, recall, F1 and strict accuracy, mention by mention."""
    precisions, recalls, right, said, there, exact = [], [], 0, 0, 0, 0
    for gold, found in pairs:
        gold, found = set(gold), set(found)
        if found:
            precisions.append(len([x for x in found if x in gold]) / len(found))
        if gold:
            recalls.append(len([x for x in gold if x in found]) / len(gold))
        right, said, there = right + len(gold & found), said + len(found), there + len(gold)
        exact += gold == found

    def three(p, r):
        return p, r, 2 * p * r / (p + r) if p + r else 0.0

    def mean(some):
        return sum(some) / len(some) if some else 0.0

    macro = three(mean(precisions), mean(recalls))
    micro = three(right / said if said else 0.0, right / there if there else 0.0)
    return (*macro, *micro, exact / len(pairs))


def told(part, accuracy):
    return (*[x.mean for m in (part.macro, part.micro) for x in (m.precision, m.recall, m.f1)], accuracy)


def among(pairs, keep):
    return [([x for x in a if keep(x)], [x for x in b if keep(x)]) for a, b in pairs]


@given(
    st.lists(st.tuples(SOME, SOME), min_size=1, max_size=12),
    st.dictionaries(st.sampled_from(LETTERS), st.integers(0, 30)),
)
@settings(deadline=None, max_examples=60)
def test_all_parts_are_what_plain_python_counts(pairs, seen):
    there, said = zip(*pairs, strict=True)
    found = score(there, said, TYPES, seen)
    assert told(found.total, found.accuracy.mean) == pytest.approx(oracle(pairs))
    for name, part in found.by_group.items():
        assert told(part, 0)[:6] == pytest.approx(oracle(among(pairs, lambda x, name=name: TYPES.group(x) == name))[:6])
    limits = {"never": (0, 0), "1–5": (1, 5), "6–20": (6, 20), "more than 20": (21, 99)}
    for name, part in found.by_seen.items():
        low, high = limits[name]
        some = among(pairs, lambda x, low=low, high=high: low <= seen.get(x, 0) <= high)
        assert told(part, 0)[:6] == pytest.approx(oracle(some)[:6])
        assert part.there == sum(len(set(a)) for a, _ in some)
        assert part.mentions_said == sum(bool(b) for _, b in some)
    assert tuple(quick(there, said).values()) == pytest.approx((found.accuracy.mean, *oracle(pairs)[:6]))
    assert quick(there, said) == pytest.approx(found.means())


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("_ratio", lambda above, below: above / below.clamp_min(1)),
        ("_ratio", lambda above, below: torch.where(below > 0, above / below.clamp_min(1), 1)),
        (
            "_exact",
            lambda there, said: torch.tensor([float(set(a) <= set(b)) for a, b in zip(there, said, strict=True)]),
        ),
    ],
    ids=["denominators below 1 are lost", "nothing of nothing is 1", "accuracy forgives what is said too much"],
)
def test_a_broken_kernel_is_noticed(monkeypatch, name, broken):
    pairs = [("ab", "abc"), ("a", ""), ("", "b"), ("cd", "ce"), ("ef", "f"), ("a", "bcd")]
    there, said = zip(*pairs, strict=True)
    good = tuple(quick(there, said).values())
    assert good == pytest.approx((oracle(pairs)[6], *oracle(pairs)[:6]))
    monkeypatch.setattr(scores, name, lambda *x: broken(*x).double())
    assert tuple(quick(there, said).values()) != pytest.approx(good)


def test_means_over_all_mentions_would_be_noticed(monkeypatch):
    """Ling & Weld's own denominators, which count mentions of which nothing is said: another protocol, other numbers."""
    kernel = scores._table

    def over_all(*given):
        table = kernel(*given)
        table[:, 4] = table[:, 6] = 1
        return table

    pairs = [("ab", "a"), ("a", ""), ("", "b")]
    there, said = zip(*pairs, strict=True)
    assert quick(there, said)["macro_precision"] == pytest.approx(1 / 2)
    assert quick(there, said)["macro_recall"] == pytest.approx(1 / 4)
    monkeypatch.setattr(scores, "_table", over_all)
    assert quick(there, said)["macro_precision"] == pytest.approx(1 / 3)


def test_intervals_are_those_of_resampling_mentions_one_by_one():
    draw = random.Random(0)
    pairs = [(draw.sample(LETTERS, draw.randint(0, 4)), draw.sample(LETTERS, draw.randint(0, 4))) for _ in range(40)]
    there, said = zip(*pairs, strict=True)
    found = score(there, said, TYPES)
    rows = torch.randint(40, (1000, 40), generator=torch.Generator().manual_seed(0)).tolist()
    drawn = torch.tensor([oracle([pairs[i] for i in row]) for row in rows], dtype=torch.float64)
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    for k, x in enumerate((found.total.macro.precision, found.total.macro.recall, found.total.macro.f1)):
        assert (x.low, x.high) == pytest.approx((low[k].item(), high[k].item()))
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((low[6].item(), high[6].item()))
    assert found.total.micro.f1.low == pytest.approx(low[5].item())
    assert isinstance(found.accuracy, Estimate)
    assert found.accuracy.n == 40


def test_sets_are_sets():
    assert quick([["a", "b"]], [["b", "b", "a"]])["accuracy"] == 1
    assert quick([["a", "b"]], [["b", "b", "c"]])["micro_precision"] == 0.5


def test_types_in_no_group_count_in_the_total_alone():
    found = score([["a", "strange"]], [["strange"]], TYPES, {"a": 3})
    assert found.total.right == 1
    assert sum(part.there for part in found.by_group.values()) == 1
    assert found.by_seen["never"].right == 1
    assert found.by_seen["1–5"].there == 1


def test_how_often_seen_has_four_parts():
    assert [seen_part(n) for n in (0, 1, 5, 6, 20, 21, 10**6)] == [
        "never", "1–5", "1–5", "6–20", "6–20", "more than 20", "more than 20",
    ]  # fmt: skip
    assert list(SEEN) == list(score([["a"]], [["a"]], TYPES, {}).by_seen)
    assert score([["a"]], [["a"]], TYPES).by_seen == {}


@pytest.mark.parametrize(("there", "said"), [([], []), ([["a"]], []), ([["a"]], [["a"], []])])
def test_nothing_to_measure_or_another_number_of_predictions_is_an_error(there, said):
    with pytest.raises(CutawayError, match=r"at least one|one for each"):
        score(there, said, TYPES)


# --- known answers ----------------------------------------------------------------------------------------------------------

PUBLISHED = {
    "total": ("macro", 54.5, 38.9, 45.4),
    "micro": ("micro", 53.6, 35.3, 42.6),
    "coarse": ("macro", 77.4, 76.7, 77.1),
    "fine": ("macro", 58.4, 50.4, 54.1),
    "ultra-fine": ("macro", 43.5, 26.4, 32.8),
}


@pytest.fixture
def released(data):
    corpus = read_corpus(data / "ufet")
    return corpus, data / "ufet_lrn_predictions" / "ufet_test_output.json"


def test_the_released_predictions_have_the_published_scores(released):
    corpus, file = released
    said = read_predictions(file, corpus.test, corpus.types)
    found = score([m.types for m in corpus.test], said, corpus.types, corpus.seen())
    parts = {"total": found.total, "micro": found.total, **found.by_group}
    for name, (mean, *numbers) in PUBLISHED.items():
        match = getattr(parts[name], mean)
        assert [round(100 * x.mean, 1) for x in (match.precision, match.recall, match.f1)] == numbers, name
        assert match.f1.low < match.f1.mean < match.f1.high
    assert found.n - found.total.mentions_said == 28
    assert sum(part.there for part in found.by_seen.values()) == found.total.there == 10_733


def test_the_released_decoder_alone_has_its_published_scores(released):
    corpus, file = released
    said = read_predictions(file, corpus.test, corpus.types, decoded=True)
    found = quick([m.types for m in corpus.test], said)
    assert [round(100 * found[f"macro_{x}"], 1) for x in ("precision", "recall", "f1")] == [55.2, 35.1, 43.0]
