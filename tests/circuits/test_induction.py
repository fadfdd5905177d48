"""The induction behaviour on several kinds of tokenizer, and behaviours found by name."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers

from cutaway import CutawayError
from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors import behavior_recipe, behavior_recipes
from cutaway.circuits.behaviors.induction import CORRUPTIONS, Induction, build
from cutaway.decoder.planted import planted
from cutaway.decoder.tokens import Tokenizer

WORDS = tuple(f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60))
TOKENIZER = planted("planted:induction").tokenizer


def leading_space() -> Tokenizer:
    """Puts a space in front of the text by itself, as Llama's first tokenizer does, and knows no two spaces."""
    fast = word_pieces({f"▁{word}": i for i, word in enumerate(WORDS, 1)})
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return Tokenizer(fast)


def word_pieces(vocabulary: dict[str, int]) -> FastTokenizer:
    return FastTokenizer(models.WordPiece({"[UNK]": 0, **vocabulary}, unk_token="[UNK]", continuing_subword_prefix=""))


def rows(behavior: Behavior, prompts) -> list[list[int]]:
    return [row[mask].tolist() for row, mask in zip(prompts.tokens, prompts.mask, strict=True)]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 20), length=st.integers(4, 20), seed=st.integers(0, 1000))
def test_prompts_repeat_one_word_and_the_answer_followed_it(n, length, seed):
    behavior = build(TOKENIZER, Induction(n=n, length=length, seed=seed))
    assert len(behavior) == n == len(set(behavior.texts))
    for row, answer, rivals in zip(
        rows(behavior, behavior.clean), behavior.answers.tolist(), behavior.alternatives.tolist(), strict=True
    ):
        assert len(row) == length
        assert len(set(row)) == length - 1
        assert answer == [row[row.index(row[-1]) + 1]]
        assert sorted(rivals[0]) == sorted(set(row[1:-1]) - set(answer))
    for text, row in zip(behavior.texts, rows(behavior, behavior.clean), strict=True):
        assert TOKENIZER.encode(text) == row


@settings(max_examples=20, deadline=None)
@given(length=st.integers(4, 20), seed=st.integers(0, 1000))
def test_corruptions_change_what_they_say_and_nothing_else(length, seed):
    behavior = build(TOKENIZER, Induction(n=6, length=length, seed=seed))
    assert behavior.corruptions.keys() == CORRUPTIONS.keys()
    clean = rows(behavior, behavior.clean)
    made = {name: rows(behavior, corruption.runs[0][1]) for name, corruption in behavior.corruptions.items()}
    for i, row in enumerate(clean):
        first = row.index(row[-1])
        for name, place in (("earlier key", first), ("earlier pair", first + 1)):
            other = made[name][i]
            assert other[place] not in row
            assert [*other[:place], *other[place + 1 :]] == [*row[:place], *row[place + 1 :]]
        assert len(set(made["everything"][i])) == length
        assert not set(made["everything"][i]) & set(row)


def test_the_pair_stands_anywhere():
    behavior = build(TOKENIZER, Induction(n=100, length=6))
    places = {row.index(row[-1]) for row in rows(behavior, behavior.clean)}
    assert places == {0, 1, 2, 3}


def test_a_seed_makes_the_same_prompts_again():
    one, again, other = (build(TOKENIZER, Induction(n=5, seed=seed)).texts for seed in (3, 3, 4))
    assert one == again != other


def test_a_tokenizer_that_adds_its_own_space_serves_as_well():
    behavior = build(leading_space(), Induction(n=10, own_words=WORDS))
    assert not any(text.startswith(" ") for text in behavior.texts)
    assert (behavior.clean.tokens > 0).all()


def test_bos_stands_in_front_only_when_asked_for():
    plain, bos = (build(TOKENIZER, Induction(n=4, bos=token)) for token in (None, 0))
    assert [[0, *row] for row in rows(plain, plain.clean)] == rows(bos, bos.clean)
    assert bos.roles[0] == "BOS"
    assert "BOS" not in plain.roles


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Induction(n=0), "n is 0: ask for at least 1"),
        (Induction(length=3), "at least 4 words"),
        (Induction(length=40), "52 of .* words are one token .* take 80: make length smaller"),
        (Induction(own_words=("owl", "kite")), "bring own_words"),
        (Induction(n=30, length=4, own_words=("acorn", "arrow")), "are one token"),
    ],
)
def test_impossible_requests_are_refused(config, said):
    with pytest.raises(CutawayError, match=said):
        build(TOKENIZER, config)


def test_words_that_join_are_never_used_side_by_side():
    """A tokenizer that writes every neighbouring pair as one token leaves no prompt at all."""
    joined = {f" {a} {b}": i for i, (a, b) in enumerate(itertools.product(WORDS[:8], repeat=2), 1)}
    single = {f" {word}": len(joined) + i for i, word in enumerate(WORDS[:8], 1)}
    with pytest.raises(CutawayError, match="found only 0 different prompts"):
        build(Tokenizer(word_pieces({**joined, **single})), Induction(n=2, length=4, own_words=WORDS[:8]))


# --- behaviours by name ---------------------------------------------------------------------------------------------


def test_every_behaviour_has_a_record_a_source_and_frozen_options():
    recipes = behavior_recipes()
    assert {"acronyms", "induction"} <= recipes.keys()
    for name, recipe in recipes.items():
        assert recipe.name == name
        assert recipe.about
        assert recipe.citation
        assert recipe.config.__dataclass_params__.frozen


@pytest.mark.parametrize("name", ["acronyms", "induction"])
def test_a_behaviour_is_built_from_its_record(name):
    recipe = behavior_recipe(name)
    behavior = recipe.build(planted(f"planted:{name}").tokenizer, recipe.config(n=3))
    assert (behavior.name, behavior.about, len(behavior)) == (name, recipe.about, 3)


def test_an_unknown_behaviour_is_refused_with_the_nearest_name():
    with pytest.raises(CutawayError, match=r"no behaviour 'inductoin': known are .*; did you mean induction"):
        behavior_recipe("inductoin")
