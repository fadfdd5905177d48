"""Behaviours: tokens line up by role, what is shared is found, and samples that cannot be one behaviour are refused."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.circuits import behavior as behavior_file
from cutaway.circuits.behavior import Prompts, Row, Sample, Segment, Variant, align, assemble, map_rows
from cutaway.core.errors import CutawayError

from .behaviors_by_hand import random_behavior

SHAPES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 9999),
        "prompts": st.integers(1, 5),
        "steps": st.integers(1, 3),
        "shared": st.integers(0, 4),
    }
)


def tokens_of(prompts: Prompts) -> list[dict[int, int]]:
    """For each row, slot → position."""
    rows = [[(slot, at) for at, slot in enumerate(slots) if slot >= 0] for slots in prompts.slots.tolist()]
    assert all(len(dict(row)) == len(row) for row in rows), "two tokens of a row in one slot"
    return [dict(row) for row in rows]


# --- slots -----------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES, shift=st.integers(0, 4))
def test_tokens_line_up_by_slot(shape, shift):
    """Also with other prompts, which may lack a slot or have it elsewhere."""
    behavior = random_behavior(**shape)
    base = behavior.clean
    source = base.take(torch.arange(len(base)).roll(shift))
    expected = torch.full_like(base.slots, -1)
    for row, (here, there) in enumerate(zip(tokens_of(base), tokens_of(source), strict=True)):
        for slot, at in here.items():
            expected[row, at] = there.get(slot, -1)
    assert torch.equal(align(base, source, len(behavior.slots)), expected)


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES)
def test_a_batch_is_its_rows_padded_on_the_right(shape):
    behavior = random_behavior(**shape)
    runs = [prompts for corruption in behavior.corruptions.values() for _, prompts in corruption.runs]
    for prompts in (behavior.clean, *runs):
        lengths = prompts.mask.sum(1)
        assert torch.equal(prompts.mask, torch.arange(prompts.tokens.shape[1]) < lengths[:, None])
        assert torch.equal(prompts.slots, behavior.clean.slots), "clean and corrupted prompts line up"
        steps = torch.arange(behavior.n_steps) - behavior.n_steps
        assert torch.equal(prompts.steps, lengths[:, None] + steps)
    fed = [behavior.clean.tokens.gather(1, behavior.clean.steps[:, i + 1 : i + 2]) for i in range(behavior.n_steps - 1)]
    assert torch.equal(torch.cat([*fed, behavior.answers[:, -1:]], 1), behavior.answers), (
        "each step's token is fed back"
    )


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES)
def test_shared_is_the_longest_common_start_in_front_of_what_is_scored(shape):
    behavior = random_behavior(**shape)
    rows = [behavior.clean, *(p for c in behavior.corruptions.values() for _, p in c.runs)]
    every = [row for prompts in rows for row in torch.stack([prompts.tokens, prompts.slots], -1).tolist()]
    limit = min(int(prompts.steps.min()) for prompts in rows)
    common = 0
    while common < limit and all(row[common] == every[0][common] for row in every):
        common += 1
    assert behavior.shared == common


def test_roles_come_in_the_order_of_the_prompt_even_if_the_first_prompt_lacks_one():
    rows = [[("A", 1), ("D", 1)], [("A", 2), ("B", 1), ("D", 1)], [("B", 1), ("C", 2), ("D", 1)]]
    behavior = assembled(*(sample(row) for row in rows))
    assert behavior.roles == ("A", "B", "C", "D")
    assert behavior.slots == (("A", 0), ("A", 1), ("B", 0), ("C", 0), ("C", 1), ("D", 0))
    assert behavior.slot_mask(behavior.clean, "C").tolist() == [[False] * 4, [False] * 4, [False, True, True, False]]
    with pytest.raises(CutawayError, match="no role 'E': roles are A, B, C, D"):
        behavior.slot_mask(behavior.clean, "E")


def test_alignment_by_position_would_be_noticed(monkeypatch):
    def by_position(base, source, n_slots):
        return torch.arange(base.tokens.shape[1]).expand_as(base.tokens).where(base.mask, -1)

    monkeypatch.setattr(behavior_file, "align", by_position)
    behavior = random_behavior(3, prompts=4)
    base, source = behavior.clean, behavior.clean.take(torch.arange(4).roll(1))
    assert not torch.equal(behavior_file.align(base, source, 0), align(base, source, len(behavior.slots)))


# --- parts -----------------------------------------------------------------------------------------------------------


def test_parts_are_disjoint_and_in_order():
    behavior = random_behavior(prompts=6)
    first, second = behavior.split(2, 3)
    assert (first.texts, second.texts) == (behavior.texts[:2], behavior.texts[2:5])
    for part, rows in ((first, slice(0, 2)), (second, slice(2, 5))):
        assert torch.equal(part.clean.tokens, behavior.clean.tokens[rows])
        assert torch.equal(part.answers, behavior.answers[rows])
        assert torch.equal(part.alternatives, behavior.alternatives[rows])
        for name, corruption in part.corruptions.items():
            for (steps, prompts), (all_steps, every) in zip(
                corruption.runs, behavior.corruptions[name].runs, strict=True
            ):
                assert steps == all_steps
                assert torch.equal(prompts.tokens, every.tokens[rows])
    with pytest.raises(CutawayError, match="cannot split 6 prompts into parts of 4, 3"):
        behavior.split(4, 3)
    with pytest.raises(CutawayError, match="parts of 6, 0"):
        behavior.split(6, 0)


def test_a_behaviour_says_what_it_is():
    behavior = random_behavior(prompts=2, even=True)
    assert repr(behavior) == (
        "Behavior('by hand', 2 prompts, 2 answer tokens, roles example R1 R2 R3 ( A1, "
        "corruptions step by step, everything)"
    )
    assert (len(behavior), behavior.n_steps) == (2, 2)
    assert behavior.to("cpu").clean.tokens.equal(behavior.clean.tokens)


def test_a_row_is_changed_segment_by_segment():
    row = (Segment("A", (1, 2)), Segment("B", (3,)))
    doubled = map_rows(row, lambda segment: Segment(segment.role, tuple(2 * i for i in segment.ids)))
    assert doubled == (Segment("A", (2, 4)), Segment("B", (6,)))


# --- refusals --------------------------------------------------------------------------------------------------------


def row_of(shape: list[tuple[str, int]], token: int = 1) -> Row:
    return tuple(Segment(role, (token,) * n) for role, n in shape)


def sample(shape: list[tuple[str, int]], corrupted: Row | None = None, **changes) -> Sample:
    """One answer token, 7 against 8; the corrupted form has 2 where the clean one has 1."""
    wrong = corrupted or row_of(shape, token=2)
    made = Sample("a prompt", row_of(shape), (7,), ((8,),), {"other": (Variant((0,), wrong),)})
    return dataclasses.replace(made, **changes)


def assembled(*samples: Sample, reference: str = "other", **more):
    return assemble("x", samples, about="", corruptions={"other": "all else"}, reference=reference, **more)


SHAPE = [("A", 1), ("B", 2)]
REFUSED = {
    "prompt 1 .*an empty answer": sample(SHAPE, answer=(), alternatives=()),
    "prompt 2 .*2 answer tokens, the first prompt 1": sample(SHAPE, answer=(7, 7), alternatives=((8,), (8,))),
    "prompt 2 .*token 1: alternatives must be there": sample(SHAPE, alternatives=((),)),
    "prompt 2 .*differ from the answer": sample(SHAPE, alternatives=((8, 7),)),
    "prompt 2 .*the role 'A' twice": sample([*SHAPE, ("A", 1)]),
    "prompt 2 .*other corruptions than the first prompt ..other'": dataclasses.replace(sample(SHAPE), corrupted={}),
    "prompt 2 .*where the clean prompt has the role 'B', it has 'C'": sample(SHAPE, row_of([("A", 1), ("C", 2)], 2)),
    "prompt 2 .*where the clean prompt has the role 'B', it has 'nothing'": sample(SHAPE, row_of([("A", 1)], 2)),
    "prompt 2 .*line up at role 'B': its tokens are 2 in the clean prompt, 1 in": sample(
        SHAPE, row_of([("A", 1), ("B", 1)], 2)
    ),
    "prompt 2 .*corruption 'other' equals the clean prompt": sample(SHAPE, row_of(SHAPE)),
}


@pytest.mark.parametrize("said", REFUSED)
def test_samples_that_are_no_behaviour_are_refused(said):
    samples = (REFUSED[said],) if said.startswith("prompt 1") else (sample(SHAPE), REFUSED[said])
    with pytest.raises(CutawayError, match=said):
        assembled(*samples)
    assert len(assembled(sample(SHAPE))) == 1


def test_a_behaviour_needs_prompts_and_a_reference():
    with pytest.raises(CutawayError, match="no prompts"):
        assembled()
    with pytest.raises(CutawayError, match=r"reference 'else' is not one of its corruptions \(other\)"):
        assembled(sample(SHAPE), reference="else")
    with pytest.raises(CutawayError, match="the reference 'other' must be one run about all 1 steps"):
        assembled(dataclasses.replace(sample(SHAPE), corrupted={"other": (Variant((0,), row_of(SHAPE, 2)),) * 2}))


def test_corrupted_by_chance_into_the_clean_prompt():
    """Where published prompts were shuffled this happens, and is said to be meant."""
    behavior = assembled(sample(SHAPE), sample(SHAPE, row_of(SHAPE)), chance=True)
    ((_, other),) = behavior.corruptions["other"].runs
    assert (other.tokens == behavior.clean.tokens).all(1).tolist() == [False, True]
    with pytest.raises(CutawayError, match="line up"):
        assembled(sample(SHAPE, row_of([("A", 2), ("B", 2)], 2)), chance=True)
