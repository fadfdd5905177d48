"""The docstring behaviour: arguments in their order, names of one or several tokens."""

from string import ascii_lowercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway import CutawayError
from cutaway.circuits.behavior import Behavior, Prompts
from cutaway.circuits.behaviors.docstring import CORRUPTIONS, DRAWN, Docstring, build

from .tokenizers_by_hand import bpe

WORDS = tuple(a + b for a in "bcdfg" for b in ("ake", "ill", "one", "ump", "ent", "ist"))
WHOLE = bpe(whole=[*(f" {word}" for word in WORDS), '"""'])
OWN = {"own_words": WORDS}


def of(behavior: Behavior, prompts: Prompts, role: str) -> list[list[int]]:
    mask = behavior.slot_mask(prompts, role)
    return [row[m].tolist() for row, m in zip(prompts.tokens, mask, strict=True)]


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 10), seed=st.integers(0, 999), k=st.integers(1, 3))
def test_the_answer_is_the_third_argument(n, seed, k):
    behavior = build(WHOLE, Docstring(n=n, seed=seed, **OWN)) if k == 1 else _several(n, seed, k)
    tokenizer = WHOLE if k == 1 else SEVERAL
    assert len(set(behavior.texts)) == n
    clean = behavior.clean
    assert behavior.answers.tolist() == of(behavior, clean, "C")
    assert of(behavior, clean, "A") == of(behavior, clean, "A described")
    assert of(behavior, clean, "B") == of(behavior, clean, "B described")
    for i, text in enumerate(behavior.texts):
        fed = behavior.answers[i, :-1].tolist()
        assert clean.tokens[i][clean.mask[i]].tolist() == tokenizer.encode(text) + fed
        assert text.endswith(":param")
        for step in range(k):
            rivals = {of(behavior, clean, role)[i][step] for role in "ABD"} - {behavior.answers[i, step].item()}
            assert {a for a in behavior.alternatives[i, step].tolist() if a >= 0} == rivals


SEVERAL = bpe(*(("Ġ", letter) for letter in ascii_lowercase), whole=[*(f" {word}" for word in WORDS), '"""'])
LETTERS = {k: tuple(a + "aeiou"[i % 5] * (k - 1) for i, a in enumerate("mnpqrstvwz")) for k in (2, 3)}
"""A space and a letter are one token, every further letter is one: names of two and of three tokens."""


def _several(n: int, seed: int, k: int) -> Behavior:
    return build(SEVERAL, Docstring(n=n, seed=seed, name_tokens=k, own_words=WORDS + LETTERS[k]))


@pytest.mark.parametrize("k", [1, 3])
def test_each_corruption_does_what_it_says(k):
    behavior = build(WHOLE, Docstring(n=12, **OWN)) if k == 1 else _several(12, 0, 3)
    assert behavior.corruptions.keys() == CORRUPTIONS.keys()
    runs = {name: c.runs[0][1] for name, c in behavior.corruptions.items()}
    assert all(c.runs[0][0] == tuple(range(k)) for c in behavior.corruptions.values())
    changed = {
        name: {behavior.slots[i][0] for i in behavior.clean.slots[prompts.tokens != behavior.clean.tokens].tolist()}
        for name, prompts in runs.items()
    }
    assert changed["answer"] == {"C"}
    assert changed["definition"] == {"A", "B"}
    assert changed["docstring"] == {"A described", "B described"}
    written = {"C written"} if k > 1 else set()
    names = {"A", "B", "C", "D", "A described", "B described"}
    assert changed["everything"] == names | written | {"def", "about", "about A", "about B"}
    for i in range(len(behavior)):  # nothing in front says which argument is next
        defined = [of(behavior, runs["everything"], role)[i] for role in "ABCD"]
        assert not any(of(behavior, runs["everything"], f"{role} described")[i] in defined for role in "AB")
    if k > 1:  # the tokens fed back are those of the name that the corrupted definition has
        assert of(behavior, runs["everything"], "C written") == [
            ids[:-1] for ids in of(behavior, runs["everything"], "C")
        ]


def test_a_seed_makes_the_same_prompts_again():
    one, same, other = (build(WHOLE, Docstring(n=9, seed=seed, **OWN)).texts for seed in (3, 3, 4))
    assert one == same != other


def test_gpt2_has_names_of_one_two_and_three_tokens(gpt2):
    for k in (1, 2, 3):
        behavior = build(gpt2, Docstring(n=24, name_tokens=k))
        assert behavior.n_steps == k
        assert len(behavior) == 24


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Docstring(n=0, **OWN), "n is 0"),
        (Docstring(name_tokens=0), "name_tokens is 0"),
        (Docstring(own_words=("one", "two")), "0 of 2 words are one token"),
        (Docstring(name_tokens=2, **OWN), f"names of 2 tokens, {DRAWN} are needed"),
    ],
)
def test_refusals_are_one_line(config, said):
    with pytest.raises(CutawayError, match=said):
        build(WHOLE, config)
