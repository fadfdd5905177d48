"""Inputs of words: the same alone or in a batch, made again from what they know, and right where it can be reckoned by hand."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.inputs import char_cnn, char_lstm, features, words
from cutaway.tagging.inputs.characters import KINDS, kind
from cutaway.tagging.inputs.gazetteer import Gazetteer
from cutaway.tagging.inputs.vocabulary import FIRST, PADDING, UNKNOWN, Vocabulary
from cutaway.tagging.parts import Input, Part, inputs

SENTENCES = [
    Sentence(("Anna", "Meier", "flew", "to", "New", "York")),
    Sentence(("ok",)),
    Sentence(("she", "likes", "the", "iPhone-12s", "😀", "שלום", "http://a.b/" + "x" * 90)),
]
OURS = ("words", "char_cnn", "char_lstm", "features")


def made(name: str, **options) -> Input:
    torch.manual_seed(0)
    part = inputs()[name]
    return part.build(SENTENCES, part.options(**options))


@pytest.fixture(params=OURS)
def built(request, tmp_path) -> Input:
    options = {}
    if request.param == "features":
        (tmp_path / "names.tsv").write_text("LOC\tNew York\nPER\tAnna\n", encoding="utf-8")
        options = {"gazetteer": str(tmp_path / "names.tsv"), "least": 1}
    return made(request.param, **options)


def part_of(built: Input) -> Part:
    return next(part for part in inputs().values() if part.build is type(built))


texts = st.lists(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(texts, st.sampled_from(OURS))
def test_a_sentence_is_the_same_alone_and_in_any_batch(lists, name):
    each = made(name, least=1).eval()
    sentences = [Sentence(tuple(some)) for some in lists] + SENTENCES
    together = each(each.collate(sentences))
    turned = each(each.collate(sentences[::-1])).flip(0)
    assert together.shape == (len(sentences), max(len(s.words) for s in sentences), each.width)
    assert torch.allclose(together, turned, atol=1e-5)
    for row, sentence in enumerate(sentences):
        alone = each(each.collate([sentence]))[0]
        assert torch.allclose(together[row, : len(sentence.words)], alone, atol=1e-5)
        assert (together[row, len(sentence.words) :] == 0).all()


def test_names_of_tensors_begin_with_the_part(built):
    assert all(key.startswith(f"{part_of(built).name}.") for key in built.collate(SENTENCES))


def test_what_is_known_makes_the_same_input_again(built):
    part = part_of(built)
    known = json.loads(json.dumps(built.known()))
    options = part.options(least=1) if part.name != "features" else replace(built.options, gazetteer="gone.tsv")
    again = part.build(None, options, known)
    again.load_state_dict(built.state_dict())
    batch = built.eval().collate(SENTENCES)
    for key, tensor in again.eval().collate(SENTENCES).items():
        assert torch.equal(tensor, batch[key])
    assert torch.equal(again(batch), built(batch))


def test_gradients_reach_every_parameter(built):
    built.train()
    built(built.collate(SENTENCES)).square().sum().backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_dropout_and_forgetting_are_for_training_alone(built):
    batch = built.collate(SENTENCES)
    assert torch.equal(built.eval()(batch), built(batch))


# --- vocabulary -------------------------------------------------------------------------------------------------------


def test_vocabulary_by_frequency():
    found = Vocabulary.of(["b", "a", "b", "c", "a", "b"], least=2)
    assert (found.items, found.counts) == (("b", "a"), (3, 2))
    assert [found.id(x) for x in ("b", "a", "c")] == [FIRST, FIRST + 1, UNKNOWN]
    assert found.id("B", "b") == FIRST
    assert Vocabulary.again(found.known()) == found


def test_rare_items_are_forgotten_as_often_as_the_formula_says():
    """α / (α + n), here 1/2 for what was seen once and 1/10 for what was seen nine times; and what is no item never."""
    torch.manual_seed(0)
    forget = Vocabulary(("rare", "frequent"), (1, 9)).forgetful(1.0)
    ids = torch.tensor([PADDING, UNKNOWN, FIRST, FIRST + 1]).repeat(20_000, 1)
    share = (forget(ids) == UNKNOWN).double().mean(0)
    assert share.tolist() == pytest.approx([0, 1, 0.5, 0.1], abs=0.02)
    assert torch.equal(forget.eval()(ids), ids)
    with pytest.raises(CutawayError, match="0 or more"):
        Vocabulary((), ()).forgetful(-1.0)


# --- word vectors -----------------------------------------------------------------------------------------------------


def file_of(tmp_path, text: str) -> str:
    path = tmp_path / "vectors.txt"
    path.write_bytes(text.encode())
    return str(path)


GLOVE = "the 1 0 2\nanna 0.5 -1e-2 3\nYork 7 8 9\n. . . 4 5 6\n"


@pytest.mark.parametrize("text", [GLOVE, "4 3\n" + GLOVE, "\ufeff" + GLOVE.replace("\n", "\r\n")])
def test_vectors_from_a_file(tmp_path, text):
    """GloVe's lines and word2vec's header, a word with blanks; a word is known as written, or else in lower case."""
    each = made("words", vectors=file_of(tmp_path, text)).eval()
    assert each.width == 3
    out = each(each.collate([Sentence(("Anna", "York", "york", ". . .", "xyzzy"))]))[0]
    assert out[0].tolist() == pytest.approx([0.5, -0.01, 3])
    assert out[1].tolist() == [7, 8, 9]
    assert out[3].tolist() == [4, 5, 6]
    assert torch.equal(out[2], out[4])  # "york" is in neither: the unknown
    assert out[4].tolist() == pytest.approx([(1 + 0.5 + 7 + 4) / 4, (0 - 0.01 + 8 + 5) / 4, (2 + 3 + 9 + 6) / 4])


def test_vectors_that_are_not_tuned_stay(tmp_path):
    each = made("words", vectors=file_of(tmp_path, GLOVE), tune=False)
    assert not each.table.weight.requires_grad
    assert "flew" not in each.vocabulary
    assert "flew" in made("words", vectors=file_of(tmp_path, GLOVE)).vocabulary


def test_only_the_first_words_of_a_file(tmp_path):
    assert words.read_vectors(file_of(tmp_path, GLOVE), 2)[0] == ["the", "anna"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no vectors"),
        ("3 2\n", "no vectors"),
        ("a 1 2\nb 1\n", "line 2"),
        ("a 1 2\nb 1 x\n", "line 2"),
        ("alone\n", "line 1"),
    ],
)
def test_a_bad_file_of_vectors_is_one_line(tmp_path, text, told):
    with pytest.raises(CutawayError, match=told) as caught:
        words.read_vectors(file_of(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_of_vectors_that_is_none(tmp_path):
    with pytest.raises(CutawayError, match="does not exist"):
        words.read_vectors(tmp_path / "none.txt")
    with pytest.raises(CutawayError, match="is a folder"):
        words.read_vectors(tmp_path)
    (tmp_path / "v.bin").write_bytes(b"3 2\n\xff\xfe\n")
    with pytest.raises(CutawayError, match="not binary"):
        words.read_vectors(tmp_path / "v.bin")


# --- characters -------------------------------------------------------------------------------------------------------


def test_the_convolution_is_the_largest_of_its_windows():
    """Against windows one by one, padded with zeros on both sides; with the window turned round it is noticed."""
    each = made("char_cnn", filters=4, window=3).eval()
    word = "flew"
    vectors = each.table(torch.tensor([each.vocabulary.id(c) for c in word]))
    padded = torch.cat([torch.zeros(1, vectors.shape[1]), vectors, torch.zeros(1, vectors.shape[1])])
    weight, bias = each.filters.weight, each.filters.bias
    answers = torch.stack([(weight * padded[i : i + 3].T).sum((1, 2)) + bias for i in range(len(word))])
    found = each(each.collate([Sentence((word, "longer-than-this"))]))[0, 0]
    assert torch.allclose(found, answers.amax(0), atol=1e-6)
    each.filters.weight.data = weight.flip(2)
    assert not torch.allclose(each(each.collate([Sentence((word,))]))[0, 0], answers.amax(0), atol=1e-3)


def test_the_lstm_gives_its_last_states_from_both_ends():
    each = made("char_lstm", hidden=3).eval()
    vectors = each.table(torch.tensor([each.vocabulary.id(c) for c in "flew"]))
    states, _ = each.lstm(vectors[None])
    found = each(each.collate([Sentence(("flew", "longer"))]))[0, 0]
    assert torch.allclose(found, torch.cat([states[0, -1, :3], states[0, 0, 3:]]), atol=1e-6)
    assert not torch.allclose(found, states[0, -1], atol=1e-3)


@pytest.mark.parametrize("name", ["char_cnn", "char_lstm"])
def test_order_and_case_of_characters_are_seen(name):
    each = made(name, kinds=4).eval()
    out = each(each.collate([Sentence(("on", "no", "No"))]))[0]
    assert not torch.allclose(out[0], out[1], atol=1e-4)
    assert not torch.allclose(out[1], out[2], atol=1e-4)


def test_long_words_keep_their_ends():
    each = made("char_cnn", longest=6)
    assert each.cut("abcdefghij") == "abchij"
    assert each.cut("abcdef") == "abcdef"
    assert each.collate([Sentence(("x" * 10_000,))])["char_cnn.ids"].shape == (1, 6)


def test_kinds_of_characters():
    assert [kind(c) for c in "Aa1.\u00a0אÉ😀"] == [
        "upper",
        "lower",
        "digit",
        "punctuation",
        "space",
        "other",
        "upper",
        "other",
    ]
    assert set(map(kind, "Aa1. א")) == set(KINDS)


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("Anna", "initial"), ("A", "initial"), ("USA", "upper"), ("the", "lower"), ("iPhone", "mixed"),
        ("McDonald", "mixed initial"), ("1,000.5", "number"), ("9/11", "number"), ("B2B", "with digits"),
        ("...", "punctuation"), ("😀", "symbol"), ("@anna", "mention"), ("#now", "hashtag"), ("https://x.y", "link"),
        ("שלום", "caseless"), ("北京", "caseless"), ("-", "punctuation"),
    ],
)  # fmt: skip
def test_kind_of_a_word(word, wanted):
    assert features.kind(word) == wanted


def test_shape_and_affixes():
    assert features.shape("iPhone-12s") == "xXx-9x"
    assert features.shape("AAAA") == "X"
    assert features.value("prefix2", "Anna") == "an"
    assert features.value("suffix3", "Anna") == "nna"
    assert features.value("suffix3", "to") == "to|"
    assert len(features.shape("a1" * 500)) == 20


def test_the_longest_name_is_found_from_left_to_right():
    names = Gazetteer({"LOC": ["New York", "New York City", "York"], "PER": ["york"]})
    found = sorted(names.found(["in", "new", "YORK", "city", ",", "York"]))
    assert found == sorted([(1, 0), (2, 1), (3, 2), (5, 3), (2, 7), (5, 7)])
    assert list(names.found(["new"])) == []


def test_a_gazetteer_gives_bits(tmp_path):
    (tmp_path / "names.tsv").write_text("LOC\tNew  York\r\n\r\nPER\tAnna\n", encoding="utf-8")
    each = made("features", kind=False, shape=False, affixes=0, gazetteer=str(tmp_path / "names.tsv"))
    assert each.width == 8
    bits = each(each.collate(SENTENCES[:1]))[0]
    assert bits.nonzero().tolist() == [[0, 7], [4, 0], [5, 2]]


@pytest.mark.parametrize(
    ("text", "told"), [("", "no names"), ("LOC New York\n", "line 1"), ("LOC\ta\n\tb\n", "line 2")]
)
def test_a_bad_gazetteer_is_one_line(tmp_path, text, told):
    (tmp_path / "names.tsv").write_text(text)
    with pytest.raises(CutawayError, match=told):
        Gazetteer.read(tmp_path / "names.tsv")
    with pytest.raises(CutawayError, match="cannot be read"):
        Gazetteer.read(tmp_path)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (words, {"dim": 0}), (char_cnn, {"dim": 0}), (char_cnn, {"filters": 0}), (char_cnn, {"longest": 1}),
        (char_lstm, {"hidden": 0}), (features, {"dim": 0}), (features, {"kind": False, "shape": False, "affixes": 0}),
    ],
)  # fmt: skip
def test_options_out_of_range_are_one_line(module, options):
    with pytest.raises(CutawayError, match=module.NAME if module is not words else "width") as caught:
        module.INPUT.build(SENTENCES, module.Options(**options))
    assert "\n" not in str(caught.value)
