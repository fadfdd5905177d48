"""A task small enough to train in a second, and a script that trains it: `python small_task.py FOLDER OUT [name=value …]`.

Several trainings, each behind a `--`, go one after another in processes of their own; the script prints their exit codes.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

from cutaway.core.training import Training, train
from cutaway.core.training.task import Batch, Task, usual_groups

TRAINING = Training(epochs=4, batch=8, lr=3e-3, warmup=0.1, clip=1.0, checkpoint_every=1, seed=3)


class SmallTask(Task):
    """Which of four classes a noisy vector is of."""

    def __init__(self, n: int = 60, dropout: float = 0.3, lengths: bool = True):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(n, 6, generator=generator)
        self.y = (self.x @ torch.randn(6, 4, generator=generator)).argmax(-1)
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 4))
        self._lengths = [i % 7 for i in range(n)] if lengths else None
        self.seen: list[list[int]] = []

    @property
    def n_samples(self) -> int:
        return len(self.x)

    @property
    def lengths(self) -> Sequence[int] | None:
        return self._lengths

    def collate(self, samples: Sequence[int]) -> Batch:
        self.seen.append(list(samples))
        return {"x": self.x[samples], "y": self.y[samples]}

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")

    def groups(self) -> Sequence[dict]:
        return usual_groups(self.model, 0.01, multiples={"4.": 2.0})

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        right = (model(self.x).argmax(-1) == self.y).float().mean().item()
        return {"accuracy": right, "score": right}


def main(folder: str, out: str, *settings: str) -> None:
    """Trains and leaves the weights, losses and scores in a JSON file, every number in full."""
    given = {name: json.loads(value) for name, value in (setting.split("=") for setting in settings)}
    resume, kill_at = given.pop("resume", False), given.pop("kill_at", None)
    task = SmallTask(n=given.pop("n", 60), dropout=given.pop("dropout", 0.3))
    if kill_at is not None:
        _kill_after(task, kill_at)
    made = train(task, replace(TRAINING, **given), folder, resume=resume)
    if torch.distributed.is_initialized() and torch.distributed.get_rank():
        return
    weights = {name: x.double().flatten().tolist() for name, x in task.model.state_dict().items()}
    Path(out).write_text(json.dumps({"weights": weights, "losses": made.losses, "history": made.history}))


def _kill_after(task: SmallTask, batches: int) -> None:
    """As if the machine were switched off: no handler, no clean-up."""
    import signal

    collate = task.collate

    def killing(samples):
        if len(task.seen) >= batches:
            os.kill(os.getpid(), signal.SIGKILL)
        return collate(samples)

    task.collate = killing


def forked(words: Sequence[str]) -> int:
    """The exit code of a process that trains, forked by this one, which never does: so it need not import torch again."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        main(*words)
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    if "--" not in sys.argv:
        main(*sys.argv[1:])
    else:
        import accelerate  # noqa: F401 - once for all
        import torch._dynamo  # the first step of an optimiser would

        trainings = [list(words) for between, words in groupby(sys.argv[1:], "--".__eq__) if not between]
        print(json.dumps([forked(words) for words in trainings]))
