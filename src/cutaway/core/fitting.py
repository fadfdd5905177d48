"""A training as a run folder, for every room: config.toml, manifest.json, metrics.jsonl, model/, scores.json."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

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


def fitted_run(
    out: Path,
    config: Any,
    *,
    about: Mapping[str, Any],
    more: Mapping[str, Any],
    fit: Callable[[Path], Fitted],
    parts: Mapping[str, Sequence],
    evaluate: Callable[[Any, Sequence], Any],
    save: Callable[[Any, Path], None],
    command: str = "",
    progress: Progress = Progress(),  # noqa: B008 - has no state
    resume: bool = False,
) -> dict:
    """Trains a model into a new run folder; returns its scores on each part of the data.

    Checkpoints lie beside the folder, in `.NAME.training`, until it is there. On several ranks (`torchrun`) one of them writes.

    Args:
        about: what tells this run from another, for the manifest: seed, data and their hash; `more` is what else it is to say.
        fit: given a folder for checkpoints.
        parts: of the data, to be measured once the weights are chosen: dev, test.
        resume: go on from checkpoints that are there; a run that is there and the same is not made again.

    Raises:
        CutawayError: as `fit`; or the folder is there already.
    """
    if resume and (scores := finished(out, config=table(config), **about)) is not None:
        return scores
    checkpoints = out.with_name(f".{out.name}.training")
    with new_run(out, config=table(config), command=command, **about, **more) if leads() else nullcontext() as run:
        fitted = fit(checkpoints)
        if run is None:
            return {}
        with progress.stage("evaluate"):
            scores = {name: evaluate(fitted.model, part).to_dict() for name, part in parts.items() if part}
        save(fitted.model, run.folder / "model")
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
