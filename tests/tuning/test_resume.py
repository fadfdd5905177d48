"""Broken off anywhere and taken up by a new process, a training ends with the bits that it would have had."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from cutaway.core.training import Training, train
from cutaway.core.training.task import Batch, Task, usual_groups
from cutaway.tuning.method import methods
from cutaway.tuning.tune import Tuned
from tuning.models import LENGTH, VOCABULARY
from tuning.test_methods import tuned

TRAINING = Training(epochs=2, batch=4, lr=0.02, warmup=0.1, checkpoint_every=3, seed=3)
AT = (4, 9)
"""Of 10 steps: within the first epoch and the second, each time some steps after the last checkpoint."""
STATEFUL = {"adalora", "child_tuning_f", "dylora"}
"""Methods that have a state of their own."""


class BrokenOffError(Exception):
    """The power went out."""


class SmallTask(Task):
    """Which of three answers, arbitrary ones, belongs to a few tokens; as fit.py makes it."""

    def __init__(self, family: str, name: str, break_at: int | None = None):
        self.tuned: Tuned = tuned(family, name)
        self.family, self.model, self.break_at, self.steps = family, self.tuned.model, break_at, 0
        draw = torch.Generator().manual_seed(5)
        self.tokens = torch.randint(2, VOCABULARY, (20, LENGTH), generator=draw)
        self.answers = torch.randint(3, (20,), generator=draw)
        if self.tuned.method.needs_data:
            samples = [list(range(i, i + 4)) for i in range(0, 20, 4)]
            self.tuned.prepare(map(self.collate, samples), lambda batch: self.losses(self.model, batch))

    @property
    def n_samples(self) -> int:
        return len(self.tokens)

    def collate(self, samples: Sequence[int]) -> Batch:
        if self.steps == self.break_at:
            raise BrokenOffError
        return {"input_ids": self.tokens[samples], "answers": self.answers[samples]}

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        given = {"input_ids": batch["input_ids"]}
        if self.family == "t5":
            given["decoder_input_ids"] = batch["input_ids"][:, :2]
        out = model(**given).logits
        out = out if out.dim() == 2 else out[:, -1]
        losses = nn.functional.cross_entropy(out, batch["answers"], reduction="none")
        more = self.tuned.loss()
        return losses if more is None else losses + more

    def groups(self) -> Sequence[dict]:
        return usual_groups(self.model, 0.01)

    def after_step(self, step: int, total: int) -> None:
        self.steps = step
        self.tuned.after_step(step, total)

    def settled(self) -> bool:
        return self.tuned.attached.settled()

    def state(self) -> dict[str, Tensor]:
        return self.tuned.attached.state()

    def put_state(self, state: dict[str, Tensor]) -> None:
        self.tuned.attached.put_state(state)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"score": float(self.steps)}  # the last weights are kept


@dataclass(frozen=True)
class Ended:
    """What a training came to."""

    losses: tuple[float, ...]
    tensors: dict[str, Tensor]
    has_state: bool

    def same_as(self, other: "Ended") -> bool:
        return (
            self.losses == other.losses
            and self.tensors.keys() == other.tensors.keys()
            and all(torch.equal(x, other.tensors[name]) for name, x in self.tensors.items())
        )


def unbroken(family, name, folder) -> Ended:
    task = SmallTask(family, name)
    return ended(task, train(task, TRAINING, folder))


def taken_up(family, name, folder, at) -> Ended:
    """Broken off after step `at`, and taken up with another model object."""
    with pytest.raises(BrokenOffError):
        train(SmallTask(family, name, break_at=at), TRAINING, folder)
    again = SmallTask(family, name)
    torch.rand(3)  # what a new process has drawn does not matter
    return ended(again, train(again, TRAINING, folder, resume=True))


def ended(task, done) -> Ended:
    kept = {name: x.detach().clone() for name, x in task.tuned.attached.kept().items()}
    return Ended(done.losses, kept, has_state=bool(task.state()))


ALWAYS = {*STATEFUL, "lora", "lt_sft", "side", "prefix"}
"""The others are slow tests: what they keep are parameters and buffers alone, as these do."""
CELLS = [
    pytest.param("bert", name, marks=() if name in ALWAYS else pytest.mark.slow)
    for name in methods()
    if name != "qlora"
]
CELLS += [("gpt2", "adalora"), ("gpt2", "dylora"), ("llama", "mam"), ("llama", "prompt"), ("t5", "side")]
CELLS += [("gpt2", "diff_pruning")]


@pytest.mark.parametrize(("family", "name"), CELLS)
def test_it_ends_the_same_wherever_it_was_broken_off(family, name, tmp_path):
    whole = unbroken(family, name, tmp_path / "whole")
    assert len(set(whole.losses)) > 5
    assert whole.has_state == (name in STATEFUL)
    for at in AT if name in STATEFUL else AT[1:]:
        assert taken_up(family, name, tmp_path / str(at), at).same_as(whole), f"broken off after step {at}"


@pytest.mark.parametrize("name", sorted(STATEFUL))
def test_a_lost_state_is_noticed(name, tmp_path, monkeypatch):
    monkeypatch.setattr(methods()[name].attached, "put_state", lambda *_: None)
    whole = unbroken("bert", name, tmp_path / "whole")
    assert not all(taken_up("bert", name, tmp_path / str(at), at).same_as(whole) for at in AT)
