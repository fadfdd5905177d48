"""A training as a run folder, for every room: config.toml, manifest.json, metrics.jsonl, model/, scores.json."""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import nn

from cutaway.core.configs import table
from cutaway.core.progress import Progress
from cutaway.core.runs import finished, leads, new_run
from cutaway.core.training.loop import Trained


class Fitted(Protocol):
    """A model with its best weights, and how it came to them."""

    @property
    def model(self) -> Any: ...

    @property
    def trained(self) -> Trained: ...


@runtime_checkable
class Data(Protocol):
    """A data set in three parts."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def train(self) -> Sequence: ...
    @property
    def dev(self) -> Sequence: ...
    @property
    def test(self) -> Sequence: ...
    @property
    def dev_from_train(self) -> bool: ...


@dataclass(frozen=True)
class Life:
    """What a room does with a model."""

    room: str
    unit: str
    """What the data consist of: sentences, examples …"""
    fit: Callable[..., Fitted]
    """As every room's: config, data, a folder for checkpoints; progress, resume, trackers."""
    evaluate: Callable[[Any, Sequence], Any]
    save: Callable[[Any, Path], None]


def fitted_run(
    life: Life,
    config: Any,
    data: Data,
    out: Path,
    *,
    command: str = "",
    progress: Progress = Progress(),  # noqa: B008 - has no state
    resume: bool = False,
    trackers: Sequence[str] = (),
) -> dict:
    """Trains a model into a new run folder; returns its scores on dev and, once the weights are chosen, on test.

    Checkpoints lie beside the folder, in `.NAME.training`, until it is there. On several ranks (`torchrun`) one of them writes.

    Args:
        config: of the room; `training.seed` tells its seed.
        resume: go on from checkpoints that are there; a run that is there and the same is not made again.

    Raises:
        CutawayError: as the room's `fit`; or the folder is there already.
    """
    about = {"seed": config.training.seed, "data": data.name, "data_sha256": data.sha256}
    if resume and (scores := finished(out, config=table(config), **about)) is not None:
        return scores
    sizes = {part: len(getattr(data, part)) for part in ("train", "dev", "test")}
    more = {"kind": f"{life.room} fit", life.unit: sizes, "dev_from_train": data.dev_from_train}
    checkpoints = out.with_name(f".{out.name}.training")
    with new_run(out, config=table(config), command=command, **about, **more) if leads() else nullcontext() as run:
        fitted = life.fit(config, data, checkpoints, progress=progress, resume=resume, trackers=trackers)
        if run is None:
            return {}
        with progress.stage("evaluate"):
            parts = {"dev": data.dev, "test": data.test}
            scores = {name: life.evaluate(fitted.model, part).to_dict() for name, part in parts.items() if part}
        life.save(fitted.model, run.folder / "model")
        run.text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in _metrics(fitted.trained)))
        run.json("scores.json", scores)
        run.facts |= _size(fitted.model)
        run.facts["best_step"] = fitted.trained.step
    shutil.rmtree(checkpoints, ignore_errors=True)
    return json.loads((out / "scores.json").read_text())


def _size(model: nn.Module) -> dict[str, int]:
    each = list(model.parameters())
    learned = sum(x.numel() for x in each if x.requires_grad)
    every = sum(x.numel() for x in each)
    return {"parameters": every} | ({"parameters_trained": learned} if learned < every else {})


def _metrics(trained: Trained) -> list[dict]:
    """A line for every step, and one for every epoch."""
    steps = [{"step": i, "loss": loss} for i, loss in enumerate(trained.losses, 1)]
    epochs = [
        {f"dev_{k}" if k not in ("epoch", "step", "loss") else k: x for k, x in row.items()} for row in trained.history
    ]
    return sorted(steps + epochs, key=lambda row: (row["step"], "epoch" in row))
