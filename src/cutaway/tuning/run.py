"""A tuning as a run folder (`core/fitting.py`)."""

from collections.abc import Sequence
from pathlib import Path

from cutaway.core.fitting import fitted_run
from cutaway.core.progress import Progress
from cutaway.tuning.config import Config
from cutaway.tuning.corpus import Corpus
from cutaway.tuning.evaluate import evaluate
from cutaway.tuning.fit import fit
from cutaway.tuning.store import save


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
    """Tunes a model into a new run folder; returns its scores on dev and, once the weights are chosen, on test.

    Args:
        resume: go on from checkpoints that are there; a run that is there and the same is not made again.

    Raises:
        CutawayError: as `fit`; or the folder is there already.
    """
    examples = {part: len(getattr(corpus, part)) for part in ("train", "dev", "test")}
    return fitted_run(
        out,
        config,
        about={"seed": config.training.seed, "data": corpus.name, "data_sha256": corpus.sha256},
        more={"kind": "tuning fit", "examples": examples, "dev_from_train": corpus.dev_from_train},
        fit=lambda at: fit(config, corpus, at, progress=progress, resume=resume, trackers=trackers),
        parts={"dev": corpus.dev, "test": corpus.test},
        evaluate=evaluate,
        save=save,
        command=command,
        progress=progress,
        resume=resume,
    )
