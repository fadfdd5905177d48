"""Marked text: braces are read as said, and every token goes to the piece in which it begins, whatever the tokenizer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors

from cutaway.circuits.behaviors import marked as marked_file
from cutaway.circuits.behaviors.marked import Piece, cut, parse, plain
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

from .tokenizers_by_hand import SPACED, bpe

WORDS = ["The", "Chief", "Executive", "Officer", "of", "it"]


def spaced() -> Tokenizer:
    """As GPT-2's: the space is part of the word after it."""
    merges = [("Ġ", letter) for letter in "TCEOoi"]
    return bpe(*merges, *SPACED, ("f", "f"), ("i", "e"), ("Ġi", "t"))


def trimmed() -> Tokenizer:
    """As Llama 3's: the same, but what a token says to cover leaves out the space."""
    tokenizer = spaced()
    tokenizer._fast.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def separate() -> Tokenizer:
    """Spaces are no part of any token."""
    fast = FastTokenizer(models.WordLevel({word: i for i, word in enumerate(["?", *WORDS])}, unk_token="?"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    return Tokenizer(fast)


def underscored() -> Tokenizer:
    """As Llama 2's: ▁ stands for the space, and one is put in front of the text."""
    letters = {c: i for i, c in enumerate("?▁" + "".join(sorted(set("".join(WORDS)))))}
    spaced = {f"▁{letter}": 90 + i for i, letter in enumerate("TCEOoi")}
    fast = FastTokenizer(models.BPE(vocab=letters | spaced, merges=[("▁", pair[1]) for pair in spaced], unk_token="?"))
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return Tokenizer(fast)


KINDS = {make.__name__: make for make in (spaced, trimmed, separate, underscored)}


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("{A:x}", [("A", "x")]),
        ("no spans", [("whole prompt", "no spans")]),
        ("a {X:b} c", [("before X", "a "), ("X", "b"), ("after X", " c")]),
        ("{X:b}{Y: c} d", [("X", "b"), ("Y", " c"), ("after Y", " d")]),
        ("{{a}} {X:{{b}}}", [("before X", "{a} "), ("X", "{b}")]),
        ("{C1:a:b} (", [("C1", "a:b"), ("after C1", " (")]),
        ("line\nend {(:(}", [("before (", "line\nend "), ("(", "(")]),
        ("", []),
    ],
)
def test_a_text_is_read_as_it_is_marked(text, pieces):
    found = parse(text)
    assert [(piece.role, piece.text) for piece in found] == pieces
    assert all(piece.marked == (" " not in piece.role) for piece in found)


@pytest.mark.parametrize("text", ["{", "a } b", "{X:}", "{X}", "{X y:z}", "{:z}", "{X:a{b}", "{{X:a}", "{X:{Y:a}}"])
def test_a_brace_alone_is_refused(text):
    with pytest.raises(CutawayError, match=r"a brace stands alone in .*write {{ for a brace"):
        parse(text)


def test_a_role_is_marked_once():
    with pytest.raises(CutawayError, match=r"the role 'X' is marked twice in '{X:a} {X:b}'"):
        parse("{X:a} {X:b}")


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text("ab {}:\n", min_size=1, max_size=6), min_size=1, max_size=5))
def test_doubled_braces_are_read_back(texts):
    """Any texts, marked one after the other."""
    doubled = [text.replace("{", "{{").replace("}", "}}") for text in texts]
    found = parse("".join(f"{{R{i}:{text}}}" for i, text in enumerate(doubled)))
    assert found == tuple(Piece(f"R{i}", text, marked=True) for i, text in enumerate(texts))


# --- cutting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), data=st.data())
def test_every_token_goes_to_the_word_that_it_is_part_of(kind, words, data):
    """The space before a word may stand on either side of the edge."""
    tokenizer = KINDS[kind]()
    sides = [data.draw(st.sampled_from(["in front", "inside"])) for _ in words[1:]]
    texts = [words[0], *(f" {w}" if side == "inside" else w for w, side in zip(words[1:], sides, strict=True))]
    texts = [t + " " * (i < len(sides) and sides[i] == "in front") for i, t in enumerate(texts)]
    pieces = [Piece(f"word {i}", text, marked=True) for i, text in enumerate(texts)]
    assert plain(pieces) == " ".join(words)
    found = cut(pieces, tokenizer)
    assert [i for ids in found for i in ids] == tokenizer.encode(" ".join(words))
    sizes = [len(tokenizer.encode(" ".join(words[: i + 1]))) for i in range(len(words))]
    assert [sum(map(len, found[: i + 1])) for i in range(len(words))] == sizes


def test_cutting_by_the_spans_as_they_are_would_be_noticed(monkeypatch):
    """A token that covers its space would go to the piece in which the space stands."""
    pieces = [Piece("a", "The "), Piece("b", "Chief")]
    assert [len(ids) for ids in cut(pieces, spaced())] == [3, 4]

    def careless(ends, at):
        return real(ends, at - 1)

    real = marked_file.bisect_right
    monkeypatch.setattr(marked_file, "bisect_right", careless)
    with pytest.raises(CutawayError, match="reaches from"):
        cut(pieces, spaced())


def test_spaces_that_are_tokens_go_where_they_stand():
    tokenizer = bpe()
    assert cut([Piece("a", "a  "), Piece("b", "b")], tokenizer) == [
        tuple(tokenizer.encode("a  ")),
        (tokenizer.encode("b")[0],),
    ]


def test_a_letter_of_several_tokens_is_not_torn():
    """é is two bytes, both of which say to cover it."""
    tokenizer = bpe()
    first, second = cut([Piece("a", "é"), Piece("b", "é!")], tokenizer)
    assert first + second == tuple(tokenizer.encode("éé!"))
    assert (len(first), len(second)) == (2, 3)


def test_an_edge_inside_a_token_is_refused():
    with pytest.raises(CutawayError, match=r"the token ' it' reaches from 'a i' \(A\) into 't' \(B\): move the edge"):
        cut([Piece("A", "a i"), Piece("B", "t")], spaced())


def test_a_span_without_a_token_is_refused():
    with pytest.raises(CutawayError, match=r"the span 'X' \(' '\) has no token of its own"):
        cut(parse("of{X: }it"), separate())
    assert cut(parse("{A:of} {B:it}"), separate()) == [(5,), (), (6,)], "between spans there need not be one"
