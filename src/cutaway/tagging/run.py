"""A training as a run folder: config.toml, manifest.json, metrics.jsonl, model/, scores.json."""

import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from cutaway.core.configs import table
from cutaway.core.progress import Progress
from cutaway.core.runs import finished, leads, new_run
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import Corpus
from cutaway.tagging.evaluate import evaluate
from cutaway.tagging.fit import fit
from cutaway.tagging.store import save


def fit_run(
    config: Config,
    corpus: Corpus,
    out: Path,
    *,
    command: str = "",
    progress: Progress = Progress(),  # noqa: B008 - has no state
    resume: bool = False,
    trackers: Sequence[str] = (),
) -> dict:
    """Trains a tagger into a new run folder; returns its scores on dev and, once the weights are chosen, on test.

    Checkpoints lie beside the folder, in `.NAME.training`, until it is there. On several ranks (`torchrun`) one of them writes.

    Args:
        resume: go on from checkpoints that are there; a run that is there and the same is not made again.

    Raises:
        CutawayError: as `fit`; or the folder is there already.
    """
    about: dict = {"seed": config.training.seed, "data": corpus.name, "data_sha256": corpus.sha256}
    if resume and (scores := finished(out, config=table(config), **about)) is not None:
        return scores
    checkpoints = out.with_name(f".{out.name}.training")
    about["sentences"] = {part: len(getattr(corpus, part)) for part in ("train", "dev", "test")}
    about["dev_from_train"] = corpus.dev_from_train
    with new_run(out, config=table(config), command=command, **about) if leads() else nullcontext() as run:
        fitted = fit(config, corpus, checkpoints, progress=progress, resume=resume, trackers=trackers)
        if run is None:
            return {}
        with progress.stage("evaluate"):
            parts = {name: part for name in ("dev", "test") if (part := getattr(corpus, name))}
            scores = {name: evaluate(fitted.model, part).to_dict() for name, part in parts.items()}
        save(fitted.model, run.folder / "model")
        run.text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in _metrics(fitted.trained)))
        run.json("scores.json", scores)
        run.facts["parameters"] = sum(x.numel() for x in fitted.model.parameters())
        run.facts["best_step"] = fitted.trained.step
    shutil.rmtree(checkpoints, ignore_errors=True)
    return json.loads((out / "scores.json").read_text())


def _metrics(trained) -> list[dict]:
    """A line for every step, and one for every epoch."""
    steps = [{"step": i, "loss": loss} for i, loss in enumerate(trained.losses, 1)]
    epochs = [
        {**{f"dev_{k}" if k not in ("epoch", "step", "loss") else k: x for k, x in row.items()}}
        for row in trained.history
    ]
    return sorted(steps + epochs, key=lambda row: (row["step"], "epoch" in row))
