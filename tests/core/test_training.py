"""The training loop: killed and resumed it ends the same, several ranks are one, the best weights are those that stay."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.small_task import TRAINING, SmallTask
from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress
from cutaway.core.training import Training, train
from cutaway.core.training.order import epoch_order, part
from cutaway.core.training.schedule import rate
from cutaway.core.training.task import usual_groups

SCRIPT = Path(__file__).with_name("small_task.py")


def python(*words: str) -> str:
    """What a Python of its own prints."""
    path = os.pathsep.join([str(SCRIPT.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def trainings(folder: Path, *each: str) -> list[int]:
    """The exit codes of processes that train one after another, each `NAME setting …`, into NAME and NAME.json."""
    words = [(str(folder / name), str(folder / f"{name}.json"), *more) for name, *more in map(str.split, each)]
    return json.loads(python(str(SCRIPT), *(word for some in words for word in ("--", *some))))


def outcome(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


# --- killed and resumed ---------------------------------------------------------------------------------------------


STEPS = (0, 5, 8, 29)
"""Of 32: the first step, within an epoch, at its end, and near the end."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Trainings that were killed, and then resumed; one that was not killed, and one that was not resumed."""
    place = tmp_path_factory.mktemp("killed")
    each = [f"{at} checkpoint_every=3 {what}" for at in STEPS for what in (f"kill_at={at}", "resume=true")]
    codes = trainings(place, "whole checkpoint_every=3", *each, "left kill_at=13")
    assert codes == [0, *[-9, 0] * len(STEPS), -9]
    return place


@pytest.mark.parametrize("at", STEPS)
def test_killed_at_any_step_it_ends_with_the_same_bits(folder, at):
    """Dropout makes it a test of random numbers as well, and a checkpoint only every third step of the steps between."""
    assert outcome(folder, str(at)) == outcome(folder, "whole")


def test_a_resumed_training_does_only_what_is_left(tmp_path):
    task = SmallTask()
    train(task, replace(TRAINING, epochs=2), tmp_path)
    steps = len(task.seen)
    assert steps == 16
    with pytest.raises(CutawayError, match="epochs was 2, is 4"):
        train(SmallTask(), TRAINING, tmp_path, resume=True)
    again = SmallTask()
    train(again, replace(TRAINING, epochs=2), tmp_path, resume=True)
    assert again.seen == []
    for ours, theirs in zip(again.model.parameters(), task.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_without_resume_it_starts_anew(tmp_path):
    first, second = SmallTask(), SmallTask()
    train(first, TRAINING, tmp_path)
    train(second, TRAINING, tmp_path)
    assert first.seen == second.seen


def test_a_lost_part_of_the_state_is_noticed(folder, monkeypatch):
    """Without the moments of AdamW, or without the random numbers, the end is another."""
    import cutaway.core.training.checkpoint as checkpoint
    import cutaway.core.training.loop as loop

    whole = outcome(folder, "whole")["losses"]

    def finished() -> list[float]:
        task = SmallTask()
        return list(train(task, TRAINING, copied(folder / "left"), resume=True).losses)

    assert finished() == whole
    restore = checkpoint.restore
    with monkeypatch.context() as patch:
        patch.setattr(
            loop,
            "restore",
            lambda m, o, t: restore(m, o, {k: x for k, x in t.items() if "exp_avg" not in k or "sq" in k}),
        )
        patch.setattr(torch.optim.AdamW, "step", lenient(torch.optim.AdamW.step))
        assert finished() != whole
    monkeypatch.setattr(torch, "set_rng_state", lambda state: None)
    assert finished() != whole


def copied(folder: Path) -> Path:
    import shutil

    place = folder.with_name(folder.name + "-copy")
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(folder, place))


def lenient(step):
    """An optimiser step that takes a lost first moment for zero."""

    def stepped(self, *args, **more):
        for state in self.state.values():
            if "exp_avg" not in state:
                state["exp_avg"] = torch.zeros_like(state["exp_avg_sq"])
        return step(self, *args, **more)

    return stepped


# --- several ranks, accumulation ------------------------------------------------------------------------------------


def test_two_ranks_are_one_process_with_twice_the_batch(tmp_path):
    """61 samples: the last batch is an odd one, and one rank has fewer than the other."""
    task = SmallTask(n=61, dropout=0.0)
    one = train(task, replace(TRAINING, batch=16, epochs=3), tmp_path / "one")
    ranks = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT))
    python(*ranks, str(tmp_path / "two"), str(tmp_path / "two.json"), "dropout=0.0", "n=61", "epochs=3", "batch=8")
    two = outcome(tmp_path, "two")
    assert two["losses"] == pytest.approx(one.losses, rel=1e-5)
    assert len(one.losses) == 12
    for name, weights in task.model.state_dict().items():
        assert two["weights"][name] == pytest.approx(weights.flatten().tolist(), abs=1e-5)


def test_accumulated_batches_are_one_large_batch(tmp_path):
    settings = replace(TRAINING, epochs=2)
    large, small = SmallTask(n=63, dropout=0.0, lengths=False), SmallTask(n=63, dropout=0.0, lengths=False)
    one = train(large, replace(settings, batch=16), tmp_path / "one")
    many = train(small, replace(settings, batch=4, accumulate=4), tmp_path / "many")
    assert many.losses == pytest.approx(one.losses, rel=1e-5)
    for ours, theirs in zip(small.model.parameters(), large.model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


# --- what it does ---------------------------------------------------------------------------------------------------


def test_it_learns_and_keeps_the_best_weights(tmp_path):
    task = SmallTask(n=200, dropout=0.0)
    made = train(task, Training(epochs=12, batch=16, lr=1e-2), tmp_path)
    assert made.scores["accuracy"] > 0.9
    assert made.losses[-1] < made.losses[0] / 2
    assert len(made.losses) == 12 * 13
    with torch.no_grad():
        assert task.evaluate(task.model)["score"] == pytest.approx(max(row["score"] for row in made.history))
    assert not task.model.training


def test_it_stops_when_dev_does_not_get_better_and_goes_back(tmp_path):
    class Worse(SmallTask):
        """Best after the second epoch."""

        marks = iter([0.5, 0.7, 0.6, 0.6, 0.9])
        kept = None

        def evaluate(self, model):
            mark = next(self.marks)
            if mark == 0.7:
                self.kept = [x.clone() for x in model.parameters()]
            return {"score": mark}

    task = Worse()
    made = train(task, replace(TRAINING, epochs=9, patience=2), tmp_path)
    assert [row["epoch"] for row in made.history] == [1, 2, 3, 4]
    assert made.scores == {"score": 0.7, "loss": made.history[1]["loss"]}
    assert made.step == 16
    assert all(torch.equal(a, b) for a, b in zip(task.kept, task.model.parameters(), strict=True))


def test_the_rate_rises_and_falls():
    rates = [rate(step, 100, warmup=0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[-1] == pytest.approx(1 / 90)
    assert rate(55, 100, warmup=0.1, schedule="cosine") == pytest.approx(0.5)
    assert rate(99, 100, schedule="constant") == 1.0
    assert all(math.isfinite(rate(0, 1, warmup=w)) for w in (0.0, 0.9))


def test_every_sample_comes_once_an_epoch_and_like_lengths_together():
    lengths = [i * 7919 % 50 for i in range(1003)]
    batches = epoch_order(1003, 16, seed=0, epoch=0, lengths=lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(1003))
    assert [len(batch) for batch in batches] == [16] * 62 + [11]
    padding = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches) / sum(lengths)
    plain = epoch_order(1003, 16, seed=0, epoch=0)
    wasted = sum(max(lengths[i] for i in batch) * len(batch) for batch in plain) / sum(lengths)
    assert padding < 1.1 < 1.7 < wasted
    assert epoch_order(1003, 16, seed=0, epoch=1, lengths=lengths) != batches
    assert sorted(part([5, 6, 7], 0, 2) + part([5, 6, 7], 1, 2)) == [5, 6, 7]
    assert part([5], 1, 2) == []


def test_vectors_are_not_decayed_and_some_learn_faster():
    task = SmallTask()
    groups = {(g["weight_decay"], g["multiple"]): len(g["params"]) for g in task.groups()}
    assert groups == {(0.01, 1.0): 1, (0.0, 1.0): 3, (0.01, 2.0): 1, (0.0, 2.0): 1}
    task.model[0].requires_grad_(False)
    assert sum(len(g["params"]) for g in usual_groups(task.model, 0.01)) == 4


def test_progress_says_every_epoch(tmp_path):
    class Heard(Progress):
        lines: list = []  # noqa: RUF012

        def say(self, line):
            self.lines.append(line)

    train(SmallTask(), TRAINING, tmp_path, progress=Heard())
    assert len(Heard.lines) == 4
    assert Heard.lines[0].startswith("epoch 1: loss ")
    assert "dev accuracy 0." in Heard.lines[0]


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 0), ("batch", 0), ("accumulate", 0), ("lr", 0.0), ("clip", -1.0), ("warmup", 1.0)]
)
def test_options_out_of_range_are_named(tmp_path, name, value):
    with pytest.raises(CutawayError, match=f"{name} is {value}"):
        train(SmallTask(), replace(TRAINING, **{name: value}), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_to_train_on_and_a_loss_that_is_no_number(tmp_path):
    with pytest.raises(CutawayError, match="training set is empty"):
        train(SmallTask(n=0), TRAINING, tmp_path)
    task = SmallTask()
    task.x[7] = math.nan
    with pytest.raises(CutawayError, match="loss is nan at step"):
        train(task, TRAINING, tmp_path)


def test_one_training_after_another_in_one_process_whatever_their_precision(tmp_path):
    losses = [
        train(SmallTask(), replace(TRAINING, epochs=1, precision=precision), tmp_path / str(i)).losses
        for i, precision in enumerate(("no", "bf16", "no"))
    ]
    assert losses[0] == losses[2] != losses[1]
