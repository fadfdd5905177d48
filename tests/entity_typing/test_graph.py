"""Attributes of mentions, and the graph that leads from them to types, held to all similarities at once."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.core.errors import CutawayError
from cutaway.entity_typing import graph
from cutaway.entity_typing.data import Mention, marked
from cutaway.entity_typing.graph import Attribute, attributes, link
from cutaway.entity_typing.lemmas import Lemmas, words_of

LEMMAS = Lemmas(
    ("machine", "building", "city", "wife", "box", "person", "body_part"), ("stop", "Write", "use", "it", "a")
)


# --- lemmas and attributes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "lemma"),
    [
        ("machines", "machine"), ("Cities", "city"), ("boxes", "box"), ("wives", "wife"), ("people", "person"), ("parts", "part"),
        ("stopped", "stop"), ("stopping", "stop"), ("writing", "write"), ("used", "use"), ("uses", "use"),
        ("building", "building"), ("buildings", "building"), ("as", "as"), ("its", "its"), ("glass", "glass"), ("ran", "ran"),
        ("", ""), ("s", "s"), ("-", "-"),
    ],
)  # fmt: skip
def test_lemmas_land_on_known_words(word, lemma):
    assert LEMMAS(word) == lemma


@given(st.text(max_size=12))
def test_any_word_has_a_lemma_and_it_stays(word):
    assert LEMMAS(word) in LEMMAS.known | {word.lower(), "child", "man", "woman"} | set(graph_words())


def graph_words():
    from cutaway.entity_typing.lemmas import IRREGULAR

    return IRREGULAR.values()


def test_types_are_made_of_words():
    assert words_of("body_part") == ("body", "part")
    assert words_of("/person/Artist") == ("artist",)
    assert words_of("/") == ()


def test_attributes_say_where_they_are_from_and_are_there_once():
    mention = marked("Many people used <e>the two Machines</e> in 1842 .")
    assert attributes(mention, LEMMAS, ["engines", "buildings", "use"]) == [
        Attribute("the", "mention"), Attribute("two", "mention"), Attribute("machines", "mention"), Attribute("machine", "mention"),
        Attribute("engines", "suggested"), Attribute("building", "suggested"), Attribute("use", "suggested"),
        Attribute("many", "sentence"), Attribute("person", "sentence"), Attribute("in", "sentence"),
    ]  # fmt: skip
    assert attributes(Mention((), ("1842",)), LEMMAS) == []


# --- the graph ------------------------------------------------------------------------------------------------------------


def all_at_once(words, vectors, types, near, edges):
    """Every similarity, and a loop over it."""
    found = {}
    for word, vector in zip(words, vectors, strict=True):
        row = [float(torch.cosine_similarity(vector, other, dim=0)) for other in types]
        best = sorted(range(len(row)), key=lambda i, row=row: (-round(row[i], 5), i))[:edges]
        if kept := [(i, row[i]) for i in best if row[i] >= near - 1e-6]:
            found[word] = kept
    return found


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 3), st.sampled_from([0.3, 0.7, 0.9]))
@settings(deadline=None, max_examples=40)
def test_edges_are_those_of_all_similarities(seed, n, edges, near):
    draw = torch.Generator().manual_seed(seed)
    vectors, types = torch.randn(n, 3, generator=draw), torch.randn(8, 3, generator=draw)
    words = [f"w{i}" for i in range(n)]
    made = link(words, vectors, types, near=near, edges=edges, at_once=5)
    expected = all_at_once(words, vectors, types, near, edges)
    assert list(made.keys) == list(expected)
    for i, kept in enumerate(expected.values()):
        there = made.types[i] >= 0
        assert made.types[i][there].tolist() == [k for k, _ in kept]
        assert made.weights[i][there].tolist() == pytest.approx([x for _, x in kept], abs=1e-5)
        assert not made.weights[i][~there].any()


def test_a_type_written_in_the_sentence_is_reached_with_weight_1_and_the_first_of_equals_wins():
    types = torch.tensor([[0.0, 0, 0], [3, 4, 0], [3, 4, 0], [0, 0, 1]])
    made = link(["same", "far", "nothing"], torch.tensor([[0.3, 0.4, 0], [1, -1, 0], [0, 0, 0]]), types)
    assert made.keys == ("same",)
    assert made.types.tolist() == [[1]]
    assert made.weights.tolist() == [[1.0]]
    assert made.size == 12


@pytest.mark.parametrize(
    "broken",
    [
        lambda cosines, near, edges: graph._first(cosines)[::-1],
        lambda cosines, near, edges: (
            graph._first(-cosines)[1],
            graph._first(cosines)[0].masked_fill(graph._first(cosines)[0] < near, 0),
        ),
    ],
    ids=["nothing is too far", "the farthest is taken"],
)
def test_a_broken_kernel_is_noticed(monkeypatch, broken):
    vectors, types = torch.eye(4)[:3] + 0.05, torch.eye(4)[1:]
    words, expected = ["a", "b", "c"], {"b": 0, "c": 1}
    good = link(words, vectors, types)
    assert dict(zip(good.keys, good.types[:, 0].tolist(), strict=True)) == expected
    monkeypatch.setattr(graph, "_nearest", broken)
    bad = link(words, vectors, types)
    assert dict(zip(bad.keys, bad.types[:, 0].tolist(), strict=True)) != expected


def test_mentions_become_places_of_their_attributes():
    made = link(["a", "b", "c"], torch.eye(3), torch.eye(3))
    assert made.numbers([["c", "x"], [], ["a", "b"]]).tolist() == [[2, -1], [-1, -1], [0, 1]]
    assert made.numbers([]).shape == (0, 1)
    assert link([], torch.empty(0, 3), torch.eye(3)).numbers([["a"]]).tolist() == [[-1]]


def test_no_more_than_some_rows_of_similarities_are_there_at_a_time(monkeypatch):
    seen, kernel = [], graph._nearest
    monkeypatch.setattr(graph, "_nearest", lambda cosines, *given: seen.append(len(cosines)) or kernel(cosines, *given))
    link([str(i) for i in range(100)], torch.randn(100, 4), torch.eye(4), at_once=16)
    assert max(seen) == 16
    assert sum(seen) == 100


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"words": ["a"]}, "1 different words of 1, 2 vectors"),
        ({"words": ["a", "a"]}, "1 different words of 2"),
        ({"near": 0.0}, "near is 0.0"),
        ({"edges": 0}, "edges 0"),
        ({"word_vectors": torch.full((2, 2), float("nan"))}, "not of finite numbers"),
    ],
)
def test_what_makes_no_graph_is_told(change, said):
    given = {"words": ["a", "b"], "word_vectors": torch.eye(2), "type_vectors": torch.eye(2), **change}
    with pytest.raises(CutawayError, match=re.escape(said)):
        link(**given)
