"""After training the best epoch's weights are back, whatever came later: the model, its file and what was measured agree."""

from dataclasses import replace

import pytest
import torch

from cutaway.core.training import train
from cutaway.tuning.format import load_tuned
from cutaway.tuning.method import methods
from cutaway.tuning.methods import diff_pruning
from tuning.models import logits, made
from tuning.test_methods import SMALL
from tuning.test_resume import ALWAYS, TRAINING, SmallTask


class Worsening(SmallTask):
    """A task of which the first epoch is the best; notes what the model says after each."""

    def __init__(self, name: str):
        super().__init__("bert", name)
        self.said: list[torch.Tensor] = []

    def evaluate(self, model):
        self.said.append(logits(model, "bert"))
        return {"score": -float(len(self.said))}


def finished(name, folder, **changes):
    """Trained; which epoch was kept."""
    task = Worsening(name)
    done = train(task, replace(TRAINING, **changes), folder)
    return task, next(at for at, epoch in enumerate(done.history) if epoch["step"] == done.step)


def says(model):
    with torch.no_grad():
        return logits(model.eval(), "bert")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow) for name in methods() if name != "qlora"],
)
def test_what_was_best_is_there_again_and_in_the_file(name, tmp_path):
    task, kept = finished(name, tmp_path / "checkpoints")
    assert kept == 0
    assert not torch.equal(*task.said)
    torch.testing.assert_close(says(task.model), task.said[0], atol=1e-6, rtol=1e-5)
    task.tuned.save(tmp_path / "run")
    again = load_tuned(made("bert"), tmp_path / "run")
    torch.testing.assert_close(says(again.model), task.said[0], atol=1e-6, rtol=1e-5)
    if again.method.mergeable:
        torch.testing.assert_close(says(again.merge()), task.said[0], atol=1e-5, rtol=1e-5)


def test_weights_that_are_yet_to_be_pruned_are_never_the_best(tmp_path, monkeypatch):
    monkeypatch.setitem(SMALL, "diff_pruning", {"search": 0.5, "share": 0.1})
    task, kept = finished("diff_pruning", tmp_path / "a", epochs=4, patience=1)
    assert (kept, len(task.said)) == (1, 3)  # pruned in the second; epochs before do not count as waiting
    size = sum(change.w.numel() for change in task.tuned.attached.changes.values())
    assert sum(int((change.w != 0).sum()) for change in task.tuned.attached.changes.values()) <= round(0.1 * size)
    monkeypatch.setattr(diff_pruning.Pruned, "settled", lambda _: True)
    assert finished("diff_pruning", tmp_path / "b", epochs=4)[1] == 0
