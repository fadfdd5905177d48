"""Acronym prompts: cut as the roles say, drawn evenly, corrupted in every slot; on GPT-2's tokenizer and on a tiny one."""

import string
from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models

from cutaway.circuits.behavior import Behavior
from cutaway.circuits.behaviors.acronyms import Acronyms, _Maker, build, letter_ids
from cutaway.core.errors import CutawayError
from cutaway.decoder.tokens import Tokenizer

from .tokenizers_by_hand import SPACED, bpe

CHI_SQUARE = 52.6
"""The 99.9 % point of χ² for 26 letters: even draws exceed it once in a thousand times."""


@pytest.fixture
def tiny() -> Tokenizer:
    """Words of many tokens; `an` and `er` are one; K and J join when side by side."""
    return bpe(*SPACED, ("a", "n"), ("e", "r"), ("K", "J"), ("J", "K"))


@pytest.fixture(params=["gpt2", "tiny"])
def tokenizer(request) -> Tokenizer:
    return request.getfixturevalue(request.param)


def config(tokenizer: Tokenizer, **changes) -> Acronyms:
    """Every word of the tiny tokenizer has 3 to 8 tokens."""
    return Acronyms(**({} if len(tokenizer) > 1000 else {"word_tokens": (3, 8)}) | changes)


def parts(behavior: Behavior, row: int) -> dict[str, list[int]]:
    """role → token ids of one clean prompt."""
    return parts_of(behavior, behavior.clean, row)


def parts_of(behavior: Behavior, prompts, row: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for slot, token in zip(prompts.slots[row].tolist(), prompts.tokens[row].tolist(), strict=True):
        if slot >= 0:
            found.setdefault(behavior.slots[slot][0], []).append(token)
    return found


def word(found: dict[str, list[int]], i: int) -> list[int]:
    return found[f"C{i}"] + found.get(f"T{i}", [])


# --- what a prompt is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [2, 3, 4, 5])
def test_roles_are_cut_as_said(tokenizer, words):
    chosen = config(tokenizer, n=12, words=words)
    behavior = build(tokenizer, chosen)
    for row, text in enumerate(behavior.texts):
        found = {role: tokenizer.decode(ids) for role, ids in parts(behavior, row).items()}
        phrase = text.removeprefix(chosen.example).removeprefix("The ").removesuffix(" (").split()
        letters = [tokenizer.decode([i]) for i in behavior.answers[row].tolist()]
        assert letters == [w[0] for w in phrase]
        assert len(set(letters)) == words
        assert [found[f"C{i}"] + found.get(f"T{i}", "") for i in range(1, words + 1)] == [f" {w}" for w in phrase]
        assert (found["example"], found["The"], found["("]) == (chosen.example, "The", " (")
        assert [found[f"A{i}"] for i in range(1, words)] == letters[:-1]
        assert all(3 <= len(word(parts(behavior, row), i)) <= 8 for i in range(1, words)) or len(tokenizer) > 1000
        # the model sees what the tokenizer makes of the whole text
        real = behavior.clean.tokens[row][behavior.clean.mask[row]].tolist()
        assert real + behavior.answers[row, -1:].tolist() == tokenizer.encode(text + "".join(letters))
    assert behavior.step_names == tuple(f"letter {i + 1}" for i in range(words))


def test_alternatives_are_the_other_25_letters(tokenizer):
    behavior, letters = build(tokenizer, config(tokenizer, n=5)), letter_ids(tokenizer)
    assert {tokenizer.decode([i]) for i in letters.values()} == set(string.ascii_uppercase)
    for row in range(5):
        for answer, others in zip(behavior.answers[row].tolist(), behavior.alternatives[row].tolist(), strict=True):
            assert sorted([answer, *others]) == sorted(letters.values())


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 2), (1, 3), (3, 3)])
def test_words_have_as_many_tokens_as_asked_for(gpt2, low, high):
    behavior = build(gpt2, Acronyms(n=30, word_tokens=(low, high)))
    sizes = {len(word(parts(behavior, row), i)) for row in range(30) for i in (1, 2, 3)}
    assert sizes == set(range(low, high + 1))
    assert ("T1" in behavior.roles) == (high > 1)


def test_prompts_of_different_length_line_up_by_role(gpt2):
    """Words of 1 to 3 tokens: the bracket stands at many places and is one slot."""
    behavior = build(gpt2, Acronyms(n=30, word_tokens=(1, 3)))
    bracket = behavior.slot_mask(behavior.clean, "(")
    assert (bracket.sum(1) == 1).all()
    assert len(set(bracket.int().argmax(1).tolist())) > 2
    assert behavior.clean.tokens[bracket].unique().tolist() == gpt2.encode(" (")
    assert not behavior.slot_mask(behavior.clean, "T1").any(1).all(), "some first words are one token"


def test_spelled_words_begin_with_the_bare_letter(gpt2):
    behavior = build(gpt2, Acronyms(n=40, spelled=True))
    loose = build(gpt2, Acronyms(n=40))

    def first_tokens(behavior: Behavior) -> set[str]:
        return {gpt2.decode(parts(behavior, row)[f"C{i}"]) for row in range(40) for i in (1, 2, 3)}

    assert all(len(token) == 2 for token in first_tokens(behavior))
    assert not all(len(token) == 2 for token in first_tokens(loose))


def test_nothing_is_added_to_a_prompt_unasked(gpt2):
    plain = build(gpt2, Acronyms(n=3, example=""))
    assert plain.roles[:2] == ("The", "C1")
    assert plain.shared == 1
    with_bos = build(gpt2, Acronyms(n=3, example="", bos=50256))
    assert with_bos.roles[:3] == ("BOS", "The", "C1")
    assert with_bos.clean.tokens[:, 0].tolist() == [50256] * 3
    assert torch.equal(with_bos.clean.tokens[:, 1:], plain.clean.tokens)
    assert with_bos.shared == 2


# --- how they are drawn ----------------------------------------------------------------------------------------------


def unevenness(behavior: Behavior) -> list[float]:
    """χ² of each step's letters against all 26 as often."""
    n, steps = behavior.answers.shape
    counts = [Counter(behavior.answers[:, step].tolist()) for step in range(steps)]
    everything = behavior.alternatives.unique().tolist()
    assert len(everything) == 26
    return [sum((count[token] - n / 26) ** 2 / (n / 26) for token in everything) for count in counts]


def test_letters_are_drawn_evenly(gpt2):
    """Though GPT-2 splits one triple of capitals in six into three tokens."""
    assert max(unevenness(build(gpt2, Acronyms(n=200)))) < CHI_SQUARE
    assert max(unevenness(build(gpt2, Acronyms(n=200, words=5)))) < CHI_SQUARE


def test_letters_drawn_at_random_would_be_noticed(gpt2, monkeypatch):
    def any_that_fit(maker: _Maker) -> list[str]:
        while len(walk := maker._walk()) < maker.config.words:
            pass
        return walk

    monkeypatch.setattr(_Maker, "_letters", any_that_fit)
    assert max(unevenness(build(gpt2, Acronyms(n=200)))) > CHI_SQUARE


def test_no_prompt_comes_twice(tokenizer):
    texts = build(tokenizer, config(tokenizer, n=150, words=2)).texts
    assert len(set(texts)) == 150


def test_the_same_seed_makes_the_same_prompts(tokenizer):
    one, same, other = (build(tokenizer, config(tokenizer, n=8, seed=seed)) for seed in (3, 3, 4))
    assert one.texts == same.texts
    for name, corruption in one.corruptions.items():
        for (_, a), (_, b) in zip(corruption.runs, same.corruptions[name].runs, strict=True):
            assert torch.equal(a.tokens, b.tokens)
    assert one.texts != other.texts
    assert build(tokenizer, config(tokenizer, n=5, seed=3)).texts == one.texts[:5], "more prompts begin with the fewer"


# --- corruptions -----------------------------------------------------------------------------------------------------


def roles_to_change(name: str, step: int, k: int) -> set[int | str]:
    """Words by number, letters by role, that a corruption must change for a step (`everything`: for all)."""
    words = {"current word": {step}, "previous words": set(range(1, step)), "everything": set(range(1, k + 1))}
    letters = {"previous letters": range(1, step), "everything": range(1, k)}
    return words.get(name, set()) | {f"A{i}" for i in letters.get(name, ())}


@pytest.mark.parametrize("words", [2, 3, 5])
def test_a_corruption_changes_every_slot_that_it_names_and_no_other(tokenizer, words):
    behavior = build(tokenizer, config(tokenizer, n=20, words=words))
    seen = {name: [steps for steps, _ in corruption.runs] for name, corruption in behavior.corruptions.items()}
    later = [(step,) for step in range(1, words)]
    assert seen == {
        "current word": [(0,), *later],
        "previous words": later,
        "previous letters": later,
        "everything": [tuple(range(words))],
    }
    assert behavior.reference == "everything"
    for name, corruption in behavior.corruptions.items():
        for steps, prompts in corruption.runs:
            change = roles_to_change(name, steps[0] + 1, words)
            for row in range(20):
                clean, corrupt = parts(behavior, row), parts_of(behavior, prompts, row)
                initials = {tokenizer.decode([i]) for i in behavior.answers[row].tolist()}
                for i in range(1, words + 1):
                    if i in change:
                        assert tokenizer.decode(word(corrupt, i))[1] not in initials
                    else:
                        assert word(corrupt, i) == word(clean, i)
                for role in clean.keys() - {f"{kind}{i}" for kind in "CT" for i in range(1, words + 1)}:
                    changed = tokenizer.decode(corrupt[role])
                    assert changed not in initials if role in change else corrupt[role] == clean[role]


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("n is 0: ask for at least 1", {"n": 0}),
        ("words is 1: an acronym here has 2 to 5", {"words": 1}),
        ("words is 6: an acronym here has 2 to 5", {"words": 6}),
        ("'Officer ' joins with the word after it: end the example with one line break", {"example": "Officer "}),
        ("only 0 letters have words of 3 to 2 tokens", {"word_tokens": (3, 2)}),
        (
            "only 2 letters have words of 3 to 8 tokens.*7 are needed",
            {"own_words": ("Acorn", "Anchor", "Badge", "low")},
        ),
    ],
)
def test_what_cannot_be_built_is_refused(tiny, said, changes):
    with pytest.raises(CutawayError, match=said):
        build(tiny, config(tiny, **changes))


def test_an_example_that_joins_with_the_prompt_is_refused_with_gpt2(gpt2):
    """Two line breaks are one token alone and two in front of a word."""
    with pytest.raises(CutawayError, match="joins with the word after it"):
        build(gpt2, Acronyms(n=2, example="The Chief Executive Officer (CEO)\n\n"))
    assert len(build(gpt2, Acronyms(n=2, example="The Chief Executive Officer (CEO)\n"))) == 2


def test_too_few_words_are_said_to_be_too_few(tiny):
    few = ("Acorn", "Badge", "Cabin", "Dagger", "Eagle")
    with pytest.raises(CutawayError, match=r"found only 20 different prompts of 2 words: ask for fewer \(n\)"):
        build(tiny, config(tiny, n=21, words=2, word_tokens=(4, 6), own_words=few))


def test_a_word_without_another_of_its_length_is_named(tiny):
    own = ("Acorn", "Baker", "Cabin", "Delta", "Early", "Flora", "Understanding")
    with pytest.raises(CutawayError, match=r"no other word of \d+ tokens to corrupt 'Understanding'"):
        build(tiny, config(tiny, n=30, word_tokens=(2, 20), own_words=own))


def test_a_tokenizer_without_single_letters_is_refused(tiny):
    joins = bpe(("Ġ", "("), ("Ġ(", "A"), words=False)
    with pytest.raises(CutawayError, match="does not write A after a bracket as a token of its own"):
        build(joins, Acronyms(n=1))
    unknown = Tokenizer(FastTokenizer(models.WordLevel({"?": 0, " (": 1}, unk_token="?")))
    with pytest.raises(CutawayError, match=r"does not write ABC.*Z after a bracket"):
        build(unknown, Acronyms(n=1))
    assert len(letter_ids(tiny)) == 26


def test_letters_that_join_are_not_put_side_by_side(tiny):
    behavior = build(tiny, config(tiny, n=150, words=2))
    letters = {"".join(tiny.decode([i]) for i in answer) for answer in behavior.answers.tolist()}
    assert not letters & {"KJ", "JK"}
    assert {"K", "J"} <= {a for pair in letters for a in pair}
