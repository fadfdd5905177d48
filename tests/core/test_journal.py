"""The journal: what was measured is found again, and only that; damage is noticed."""

from dataclasses import replace

import pytest
import torch

import cutaway
from cutaway import CutawayError
from cutaway.circuits.behaviors.acronyms import Acronyms, build
from cutaway.circuits.resume import fingerprint, journal_of
from cutaway.core.journal import Journal, digest, name_of
from cutaway.core.ranks import Ranks
from cutaway.core.work import Work


def measured(work: Work, names: list[str], fail_after: int | None = None) -> tuple[torch.Tensor, list[int]]:
    """Cell i has the value i everywhere; two cells a group; also the cells really measured."""
    done: list[int] = []

    def run(mine):
        for start in range(0, len(mine), 2):
            if fail_after is not None and len(done) >= fail_after:
                raise KeyboardInterrupt
            group = list(range(start, min(start + 2, len(mine))))
            done.extend(mine[i] for i in group)
            yield group, torch.tensor([[float(mine[i])] * 3 for i in group])

    try:
        return work.measure(names, (3,), run), done
    except KeyboardInterrupt:
        return torch.empty(0), done


NAMES = [name_of("cell", i) for i in range(9)]
EXPECTED = torch.arange(9.0)[:, None].expand(9, 3)


def test_a_second_start_measures_only_what_the_first_did_not(tmp_path):
    _, first = measured(Work(journal=Journal(tmp_path / "j", "model")), NAMES, fail_after=4)
    values, second = measured(Work(journal=Journal(tmp_path / "j", "model")), NAMES)
    assert torch.equal(values, EXPECTED)
    assert first == [0, 1, 2, 3]
    assert second == [4, 5, 6, 7, 8]
    values, third = measured(Work(journal=Journal(tmp_path / "j", "model")), list(reversed(NAMES)))
    assert torch.equal(values, EXPECTED.flip(0))
    assert third == []


def test_another_model_another_name_and_another_shape_find_nothing(tmp_path):
    measured(Work(journal=Journal(tmp_path, "model")), NAMES)
    assert Journal(tmp_path, "model").get(NAMES[0], (3,)) is not None
    assert Journal(tmp_path, "another").get(NAMES[0], (3,)) is None
    assert Journal(tmp_path, "model").get(name_of("cell", "0"), (3,)) is None
    assert Journal(tmp_path, "model").get(NAMES[0], (1, 3)) is None


def test_a_file_cut_short_is_measured_again(tmp_path):
    measured(Work(journal=Journal(tmp_path, "model")), NAMES)
    broken = sorted(tmp_path.glob("*.safetensors"))[0]
    broken.write_bytes(broken.read_bytes()[:40])
    values, again = measured(Work(journal=Journal(tmp_path, "model")), NAMES)
    assert torch.equal(values, EXPECTED)
    assert 0 < len(again) < 9


def test_without_a_journal_nothing_is_written_and_removing_leaves_nothing(tmp_path):
    values, done = measured(Work(), NAMES)
    assert torch.equal(values, EXPECTED)
    assert done == list(range(9))
    journal = Journal(tmp_path / "runs" / ".x.journal", "model")
    assert not journal.folder.exists()
    measured(Work(journal=journal), NAMES)
    assert len(journal) == 9
    journal.remove()
    assert not journal.folder.exists()


def test_progress_adds_up_to_all_cells(tmp_path):
    measured(Work(journal=Journal(tmp_path, "model")), NAMES[:4])
    ticks: list[int] = []
    Work(journal=Journal(tmp_path, "model")).measure(
        NAMES, (3,), lambda mine: [([i], torch.zeros(1, 3)) for i in range(len(mine))], ticks.append
    )
    assert ticks[0] == 4
    assert sum(ticks) == 9


def test_digests_tell_apart_what_differs_in_cutting_type_or_shape():
    x = torch.arange(6, dtype=torch.float32)
    different = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        (x,),
        (x.reshape(2, 3),),
        (x.to(torch.bfloat16),),
        (x.int(),),
        (x + 1e-7,),
    ]
    assert len({digest(*parts) for parts in different}) == len(different)
    assert digest(x, "a") == digest(x.clone(), "a")
    assert name_of("a", "b,c") != name_of("a,b", "c") != name_of("a", "b", "c")


def test_keys_depend_on_weights_and_on_every_corrupted_prompt(tmp_path):
    model, other = cutaway.load("planted:acronyms@1"), cutaway.load("planted:acronyms@1")
    assert journal_of(model, tmp_path).about == journal_of(other, tmp_path).about
    with torch.no_grad():
        other.layers[1].o.weight[0, 0] += 1e-3
    assert journal_of(model, tmp_path).about != journal_of(other, tmp_path).about
    assert journal_of(model.to(torch.bfloat16), tmp_path).about != journal_of(other, tmp_path).about

    behavior = build(model.tokenizer, Acronyms(n=3))
    assert fingerprint(behavior) == fingerprint(build(model.tokenizer, Acronyms(n=3)))
    assert fingerprint(behavior) != fingerprint(build(model.tokenizer, Acronyms(n=3, seed=1)))
    name = next(iter(behavior.corruptions))
    steps, prompts = behavior.corruptions[name].runs[0]
    tokens = prompts.tokens.clone()
    tokens[0, -1] += 1
    changed = replace(behavior.corruptions[name], runs=((steps, replace(prompts, tokens=tokens)),))
    assert fingerprint(behavior) != fingerprint(replace(behavior, corruptions={**behavior.corruptions, name: changed}))


class Other(Ranks):
    """Two ranks in one process: what the other one says is given."""

    def sum(self, mine):
        return mine + self.others.pop(0)


def two(*others: torch.Tensor) -> Ranks:
    ranks = Other(rank=0, world=2)
    object.__setattr__(ranks, "others", list(others))
    return ranks


def test_cells_are_dealt_in_turn_but_not_those_that_a_rank_knows():
    same = int(digest(*NAMES)[:15], 16)
    knows = torch.zeros(2, 9, dtype=torch.long)
    knows[1, [0, 3]] = 1
    theirs = torch.zeros(9, 3)
    theirs[[0, 2, 3, 5, 7]] = 1000.0
    values, mine = measured(Work(two(torch.tensor([0, same]), knows, theirs)), NAMES)
    assert mine == [1, 4, 6, 8]
    assert torch.equal(values[mine], EXPECTED[mine])
    assert (values[[0, 2, 3, 5, 7]] == 1000).all()


def test_ranks_that_measure_different_things_are_told_so():
    with pytest.raises(CutawayError, match="do not measure the same"):
        measured(Work(two(torch.tensor([0, 12345]))), NAMES)


def test_all_ranks_take_what_the_leading_one_has():
    assert Work(two(torch.zeros(2))).agree(torch.tensor([1.0, 2.0])).tolist() == [1, 2]
    follower = two(torch.tensor([1.0, 2.0]))
    object.__setattr__(follower, "rank", 1)
    assert Work(follower).agree(torch.tensor([1.0 + 1e-7, 5.0])).tolist() == [1, 2]
    assert Work().agree(torch.tensor([3.0])).tolist() == [3]
