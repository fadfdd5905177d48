"""Training a method on a model: examples in, a tuned model out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress
from cutaway.core.training.loop import Trained, train
from cutaway.core.training.order import epoch_order
from cutaway.core.training.task import Batch, Task, moved, usual_groups
from cutaway.tuning.config import Config
from cutaway.tuning.corpus import Corpus
from cutaway.tuning.evaluate import dev_scores
from cutaway.tuning.model import TunedModel, new_model


class TuningTask(Task):
    """What the training loop is given."""

    def __init__(self, tuned: TunedModel, corpus: Corpus):
        self.model = self.tuned = tuned
        self.corpus = corpus
        self._lengths = tuned.reader.sizes(corpus.train)

    @property
    def n_samples(self) -> int:
        return len(self.corpus.train)

    @property
    def lengths(self) -> Sequence[int]:
        return self._lengths

    def collate(self, samples: Sequence[int]) -> Batch:
        return self.tuned.collate([self.corpus.train[i] for i in samples])

    def losses(self, model: nn.Module, batch: Batch) -> Float[Tensor, " batch"]:
        return model(batch)

    def groups(self) -> Sequence[dict]:
        config = self.tuned.config
        return usual_groups(self.tuned, config.training.weight_decay, multiples={"head.": config.head_lr})

    def after_step(self, step: int, total: int) -> None:
        self.tuned.tuned.after_step(step, total)

    def settled(self) -> bool:
        return self.tuned.tuned.attached.settled()

    def state(self) -> dict[str, Tensor]:
        return self.tuned.tuned.attached.state()

    def put_state(self, state: dict[str, Tensor]) -> None:
        self.tuned.tuned.attached.put_state(state)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return dev_scores(self.tuned, self.corpus)

    def batches(self) -> Iterator[Batch]:
        """The training set once, for methods that choose by it what learns."""
        training = self.tuned.config.training
        for samples in epoch_order(self.n_samples, training.batch, seed=training.seed, epoch=-1, lengths=self.lengths):
            yield moved(self.collate(samples), self.tuned.device)


@dataclass(frozen=True)
class Fitted:
    """A model with its best weights, and how it came to them."""

    model: TunedModel
    trained: Trained


def fit(
    config: Config,
    corpus: Corpus,
    folder: str | Path,
    *,
    progress: Progress = Progress(),  # noqa: B008 - has no state
    resume: bool = False,
    trackers: Sequence[str] = (),
) -> Fitted:
    """Tunes a pretrained model by a method.

    Args:
        folder: for checkpoints; with `resume` the training goes on from the last one there.
        trackers: as for `cutaway.core.training.train`.

    Raises:
        CutawayError: an option out of range, no such model or method, a model that cannot give such answers, or no dev set.
    """
    config.check()
    if not corpus.dev:
        raise CutawayError(
            f"{corpus.name} has no dev set to choose the weights by: give one, or more examples to train on"
        )
    torch.manual_seed(config.training.seed)
    model = new_model(config, corpus)
    task = TuningTask(model, corpus)
    if model.tuned.method.needs_data:
        with progress.stage(f"{config.method}: choose what learns"):
            model.train()
            model.tuned.prepare(task.batches(), model)
    trained = train(task, config.training, folder, progress=progress, resume=resume, trackers=trackers)
    return Fitted(model.eval(), trained)
