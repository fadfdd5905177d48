"""What every system of the speed benchmark speaks: a process that loads a model once, then answers jobs, one JSON a line.

A *task* is an .npz file: clean and corrupted tokens, where the answers are predicted, what they compete with. A *cell* is
(layer, head, position), position −1 meaning all. A peer says how it runs a prompt and how it runs a cell; the loop over
cells, the clock, the metric and the measured memory are the same for all, and are here.

This file runs in each peer's own environment: it imports numpy and torch alone.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Task:
    """Prompts of one run of a corruption: all of one length, scored at the same positions in every prompt."""

    clean: Tensor
    """`[batch, pos]`; so is `corrupt`."""
    corrupt: Tensor
    positions: Tensor
    """`[step]`: where the answers are predicted."""
    answers: Tensor
    """`[batch, step]`."""
    alternatives: Tensor
    """`[batch, step, alternative]`."""

    @classmethod
    def read(cls, file: Path) -> "Task":
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**{name: torch.from_numpy(arrays[name]) for name in arrays.files})

    def write(self, file: Path) -> None:
        with file.open("wb") as out:
            np.savez(out, **{name: tensor.numpy() for name, tensor in vars(self).items()})

    def first(self) -> "Task":
        """The first prompt alone."""
        return Task(self.clean[:1], self.corrupt[:1], self.positions, self.answers[:1], self.alternatives[:1])

    def logit_diff(self, logits: Tensor) -> Tensor:
        """logit(answer) − max logit(alternatives), of logits `[batch, step, vocab]`."""
        right = logits.gather(-1, self.answers[..., None]).squeeze(-1)
        return right - logits.gather(-1, self.alternatives).amax(-1)


class Peer(Protocol):
    """One system with one model. Logits are `[batch, step, vocab]`, at the task's positions."""

    def forward(self, task: Task) -> Tensor:
        """The plain run of the clean prompts."""

    def values(self, task: Task) -> Any:
        """What will be patched in: every head's output in the corrupted run, from one pass."""

    def cell(self, task: Task, values: Any, layer: int, head: int, position: int) -> Tensor:
        """The run of the clean prompts with one head's output replaced, at one position or at all (−1)."""


def cells(peer: Peer, job: dict) -> dict:
    """Times one task: the two passes that everybody needs, then pass after pass over the cells asked for."""
    task = Task.read(Path(job["task"]))
    started = time.perf_counter()
    values = peer.values(task)
    before = task.logit_diff(peer.forward(task))
    spent, effects = [time.perf_counter() - started], []
    for layer, head, position in job["cells"]:
        started = time.perf_counter()
        effects.append(task.logit_diff(peer.cell(task, values, layer, head, position)) - before)
        spent.append(time.perf_counter() - started)
    np.save(job["out"], torch.stack(effects).float().numpy())
    return {"setup": spent[0], "cells": spent[1:]}


def forward(peer: Peer, job: dict) -> dict:
    """Times one plain forward pass of a task's clean prompts."""
    task = Task.read(Path(job["task"]))
    started = time.perf_counter()
    peer.forward(task)
    return {"seconds": time.perf_counter() - started}


def warm(peer: Peer, job: dict) -> dict:
    """One prompt through the model, so that its weights are in memory; peaks count from here."""
    peer.forward(Task.read(Path(job["task"])).first())
    return {}


JOBS = {"warm": warm, "forward": forward, "cells": cells}
"""What every peer answers: `do` of a job → its function."""


def serve(load: Callable[[str], Peer], packages: tuple[str, ...], jobs: dict[str, Callable[..., dict]] = JOBS) -> None:
    """Loads the model named on the command line, says so, then answers jobs from stdin until it closes.

    Args:
        packages: whose versions are told.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print must not speak into the answers
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))

    def say(answer: dict) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    def failure(error: Exception) -> dict:
        return {"failed": f"{type(error).__name__}: {error}".split("\n")[0][:300]}

    try:
        peer = load(sys.argv[1])
    except Exception as error:  # whatever a library raises, the driver is to hear of it and go on
        return say(failure(error))
    say({"versions": {name: metadata.version(name) for name in packages}, "threads": torch.get_num_threads()})
    base = 0
    for job in map(json.loads, sys.stdin):
        forget_peak()
        try:
            with torch.inference_mode():
                answer = jobs[job["do"]](peer, job)
        except Exception as error:
            answer = failure(error)
        if job["do"] == "warm":
            base = memory("VmRSS")
        say(answer | {"peak_bytes": max(0, memory("VmHWM") - base)})


def forget_peak() -> None:
    """Lets the peak of this process's memory count from now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(field: str) -> int:
    """VmRSS, the memory held now, or VmHWM, the most since `forget_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
