"""Indirect object identification on tokenizers made here, on GPT-2's, and on a planted model's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway import CutawayError
from cutaway.circuits.behaviors.ioi import CORRUPTIONS, IOI, build

from .tokenizers_by_hand import bpe

NAMES = ("Ada", "Bo", "Cy", "Dot", "Eve", "Fay", "Gus", "Hal")
TOKENIZER = bpe(whole=[f" {name}" for name in NAMES])
OWN = {"own_names": NAMES}


def named(behavior, prompts) -> list[dict[str, int]]:
    """For each prompt the tokens of IO, S1 and S2."""
    masks = {role: behavior.slot_mask(prompts, role) for role in ("IO", "S1", "S2")}
    return [{role: row[mask[i]].item() for role, mask in masks.items()} for i, row in enumerate(prompts.tokens)]


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 12), seed=st.integers(0, 999), order=st.sampled_from(["ABBA", "BABA", "both"]))
def test_the_subject_is_said_twice_and_the_answer_is_the_other(n, seed, order):
    behavior = build(TOKENIZER, IOI(n=n, seed=seed, order=order, **OWN))
    assert len(set(behavior.texts)) == n
    for row, answer, rival in zip(
        named(behavior, behavior.clean), behavior.answers.tolist(), behavior.alternatives.tolist(), strict=True
    ):
        assert row["S1"] == row["S2"] != row["IO"]
        assert [row["IO"]] == answer
        assert [[row["S1"]]] == rival
    for text, row, mask in zip(behavior.texts, behavior.clean.tokens, behavior.clean.mask, strict=True):
        assert TOKENIZER.encode(text) == row[mask].tolist()
        assert TOKENIZER.decode(row[mask].tolist()).endswith(" to")


def test_each_corruption_does_what_it_says():
    behavior = build(TOKENIZER, IOI(n=20, **OWN))
    assert behavior.corruptions.keys() == CORRUPTIONS.keys()
    clean = named(behavior, behavior.clean)
    made = {name: named(behavior, c.runs[0][1]) for name, c in behavior.corruptions.items()}
    for i, row in enumerate(clean):
        flipped, new, first, all_of_it = (made[name][i] for name in CORRUPTIONS)
        assert flipped == row | {"S2": row["IO"]}
        assert new == row | {"S2": new["S2"]}
        assert new["S2"] not in row.values()
        assert first == row | {"S1": first["S1"]}
        assert first["S1"] not in row.values()
        assert len(set(all_of_it.values())) == 3
        assert not set(all_of_it.values()) & set(row.values())
    # names alone are changed
    names = sum(behavior.slot_mask(behavior.clean, role).int() for role in ("IO", "S1", "S2")).bool()
    for c in behavior.corruptions.values():
        assert (c.runs[0][1].tokens == behavior.clean.tokens)[~names].all()


def test_orders_take_turns_and_one_may_be_asked_for():
    def first(behavior, row: int) -> str:
        roles = [behavior.slots[i][0] for i in behavior.clean.slots[row].tolist() if i >= 0]
        return next(role for role in roles if role in ("IO", "S1"))

    both = build(TOKENIZER, IOI(n=20, **OWN))
    assert {first(both, row) for row in range(20)} == {"IO", "S1"}
    only = build(TOKENIZER, IOI(n=8, order="BABA", **OWN))
    assert {first(only, row) for row in range(8)} == {"S1"}


def test_a_seed_makes_the_same_prompts_again():
    one, same, other = (build(TOKENIZER, IOI(n=9, seed=seed, **OWN)).texts for seed in (3, 3, 4))
    assert one == same != other


def test_nothing_is_added_unless_asked_for():
    assert "BOS" not in build(TOKENIZER, IOI(n=2, **OWN)).roles
    behavior = build(TOKENIZER, IOI(n=2, bos=5, **OWN))
    assert behavior.clean.tokens[:, 0].tolist() == [5, 5]
    assert behavior.slots[0] == ("BOS", 0)


def test_gpt2_knows_all_of_the_names(gpt2):
    behavior = build(gpt2, IOI(n=64))
    assert len(behavior) == 64
    assert [len(gpt2.encode(text)) for text in behavior.texts] == behavior.clean.mask.sum(1).tolist()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (IOI(n=0), "n is 0"),
        (IOI(order="AABB"), "order is 'AABB': allowed are ABBA, BABA, both"),
        (IOI(own_names=("Ada", "Bo", "Mary")), "2 of 3 names are one token under this tokenizer, 5 are needed"),
    ],
)
def test_refusals_are_one_line(config, said):
    own = config if config.own_names else IOI(n=config.n, order=config.order, own_names=NAMES)
    with pytest.raises(CutawayError, match=said):
        build(TOKENIZER, own)


def test_a_tokenizer_that_joins_a_name_with_what_follows_is_not_fooled():
    """` Ada and` as one token hides the edge between a name and `and`; prompts with it are left out."""
    joined = bpe(whole=[*(f" {name}" for name in NAMES), " Ada and"])
    behavior = build(joined, IOI(n=30, **OWN))
    assert not any("Ada and" in text for text in behavior.texts)
    assert any("Ada" in text for text in behavior.texts)
