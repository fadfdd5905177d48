"""The pretrained encoder as an input: first pieces of words, windows, words without pieces, the first token."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.core.encoders import load_encoder
from cutaway.core.errors import CutawayError
from cutaway.tagging.config import Config
from cutaway.tagging.data import Sentence
from cutaway.tagging.inputs.encoder import INPUT, Options
from cutaway.tagging.model import new_tagger
from tagging import made_up

WORDS = ("rome", "fly", "rio", "de", "janeiro", "\u200b", "two", "tomorrow", "Zürich", "👩‍👩‍👧", "שלום")


@pytest.fixture(scope="module")
def made(encoder):
    return INPUT.build([], Options(name=str(encoder))).eval()


def features(made, *sentences: Sentence) -> torch.Tensor:
    with torch.no_grad():
        return made(made.collate(sentences))


def test_a_word_is_its_first_piece_and_a_sentence_its_first_token(made, encoder):
    words = ("will", "it", "snow", "in", "rome")
    loaded = load_encoder(str(encoder))
    pieces = loaded.tokenizer.encode(list(words), is_pretokenized=True)
    assert len(pieces.ids) > len(words) + 2  # "snow" and others come in several
    with torch.no_grad():
        whole = loaded.model.eval()(torch.tensor([pieces.ids])).last_hidden_state[0]
        found, sentence = made.with_sentence(made.collate([Sentence(words)]))
    first = [pieces.word_ids.index(i) for i in range(len(words))]
    torch.testing.assert_close(found[0], whole[first], atol=1e-6, rtol=0)
    torch.testing.assert_close(sentence[0], whole[0], atol=1e-6, rtol=0)
    last = [len(pieces.ids) - 2 - pieces.word_ids[-2::-1].index(i) for i in range(len(words))]
    assert not torch.allclose(found[0], whole[last], atol=1e-3), "the last piece of each word would pass for the first"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12), min_size=2, max_size=4))
def test_neither_padding_nor_neighbours_change_a_sentence(made, lists):
    sentences = [Sentence(tuple(words)) for words in lists]
    together = features(made, *sentences)
    for row, sentence in zip(together, sentences, strict=True):
        alone = features(made, sentence)[0]
        torch.testing.assert_close(row[: len(alone)], alone, atol=1e-5, rtol=1e-4)
        assert not row[len(alone) :].any()


def test_long_sentences_are_cut_at_words_into_windows_that_fit(made):
    words = ("rome", "fly", "janeiro", "two") * 30
    windows = made.windows(words)
    assert [piece for window in windows for piece in window] == [made.pieces(word) for word in words]
    sizes = [sum(map(len, window)) for window in windows]
    assert max(sizes) <= made.room
    assert max(sizes) - min(sizes) <= max(len(made.pieces(word)) for word in words) * 2
    assert features(made, Sentence(words)).shape == (1, 120, 16)
    inside = features(made, Sentence(words[: len(windows[0])]))[0]
    torch.testing.assert_close(features(made, Sentence(words))[0, : len(inside)], inside, atol=1e-5, rtol=1e-4)


def test_every_word_has_a_piece(made):
    unknown = made.tokenizer.token_to_id("[UNK]")
    assert made.pieces("\u200b") == (unknown,)
    assert len(made.pieces("x" * 1000)) <= made.room
    assert features(made, Sentence(("\u200b", "x" * 99, "rome"))).isfinite().all()


def test_what_it_knows_makes_the_same_input_again(made):
    again = INPUT.build(None, Options(name="gone"), made.known()).eval()
    again.load_state_dict(made.state_dict())
    sentence = Sentence(WORDS)
    assert torch.equal(features(again, sentence), features(made, sentence))


def test_the_mean_of_the_words_can_stand_for_the_sentence(encoder):
    mean = INPUT.build([], Options(name=str(encoder), sentence="mean")).eval()
    with torch.no_grad():
        words, sentence = mean.with_sentence(mean.collate([Sentence(("rome",)), Sentence(("fly", "two", "rome"))]))
    torch.testing.assert_close(sentence[0], words[0, 0])
    torch.testing.assert_close(sentence[1], words[1].mean(0))


def test_a_frozen_encoder_learns_nothing(encoder):
    frozen = INPUT.build([], Options(name=str(encoder), frozen=True))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_byte_level_pieces_begin_with_their_space(tmp_path, encoder):
    """RoBERTa and its kin: a word by itself is what it would be in a sentence."""
    from shutil import copytree

    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = copytree(encoder, tmp_path / "bytes")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    numbers = {piece: i for i, piece in enumerate([*alphabet, "Ġr", "<unk>"])}
    Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast = Tokenizer(models.BPE(vocab=numbers, merges=[("Ġ", "r")], unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.save(str(folder / "tokenizer.json"))
    assert INPUT.build([], Options(name=str(folder))).pieces("rome")[0] == numbers["Ġr"]


def test_a_tokenizer_without_an_unknown_piece_is_refused(tmp_path, encoder):
    from shutil import copytree

    from tokenizers import Tokenizer, models

    folder = copytree(encoder, tmp_path / "no-unknown")
    Tokenizer(models.WordLevel({"a": 0})).save(str(folder / "tokenizer.json"))
    with pytest.raises(CutawayError, match="no unknown piece"):
        INPUT.build([], Options(name=str(folder)))


def test_words_are_hidden_whole_in_training_and_nothing_else(encoder):
    """Every piece of a hidden word, never what the tokenizer puts around a sentence, never padding, never outside training."""
    data = made_up.corpus(24, 1, 1)
    config = Config(options={"encoder.name": str(encoder), "encoder.hide": 0.5})
    tagger = new_tagger(config, data.train).inputs["encoder"]
    sentences = [*data.train, Sentence(("unbelievably", "rome"))]
    batch = tagger.collate(sentences)
    torch.manual_seed(0)
    hidden = tagger.with_words_hidden(batch)
    changed = hidden != batch["encoder.ids"]
    for row, (sentence, new) in enumerate(zip(sentences, changed.tolist(), strict=True)):
        at = len(tagger.before)
        assert not any(new[:at])
        for word in sentence.words:
            pieces = new[at : at + len(tagger.pieces(word))]
            assert len(set(pieces)) == 1, f"{word} is hidden in part"
            at += len(pieces)
        assert not any(new[at:]), row
    words = sum(len(s.words) for s in sentences)
    firsts = changed.flatten()[batch["encoder.at"][batch["encoder.at"] >= 0]].sum().item()
    assert 0.3 < firsts / words < 0.7
    tagger.eval()
    torch.testing.assert_close(tagger(batch), tagger(batch))
    with pytest.raises(CutawayError, match=r"encoder.hide is 1"):
        new_tagger(replace(config, options={**config.options, "encoder.hide": 1.0}), data.train)
