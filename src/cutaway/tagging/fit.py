"""Training a tagger: sentences in, a calibrated model out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.core.progress import Progress
from cutaway.core.training.loop import Trained, train
from cutaway.core.training.task import Batch, Task, usual_groups
from cutaway.tagging import calibration as calibrating
from cutaway.tagging.calibration import Calibration
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import Corpus
from cutaway.tagging.data import Sentence
from cutaway.tagging.evaluate import answers, confidences
from cutaway.tagging.model import Tagger, intent_scores, new_tagger
from cutaway.tagging.scores import quick
from cutaway.tagging.transfer import continued


class TaggingTask(Task):
    """What the training loop is given. The dev score that chooses the weights is the mean of intent accuracy, span F1 and frame
    accuracy, as far as there are such."""

    def __init__(self, tagger: Tagger, corpus: Corpus):
        self.model = self.tagger = tagger
        self.corpus = corpus
        self._lengths = tagger.sizes(corpus.train)

    @property
    def n_samples(self) -> int:
        return len(self.corpus.train)

    @property
    def lengths(self) -> Sequence[int]:
        return self._lengths

    def collate(self, samples: Sequence[int]) -> Batch:
        return self.tagger.collate([self.corpus.train[i] for i in samples])

    def losses(self, model: nn.Module, batch: Batch) -> Float[Tensor, " batch"]:
        return model(batch)

    def groups(self) -> Sequence[dict]:
        config = self.tagger.config
        multiples = dict.fromkeys(self.tagger.fresh(), config.fresh_lr)
        return usual_groups(self.tagger, config.training.weight_decay, multiples=multiples)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        said = answers(self.tagger, self.tagger.read(self.corpus.dev))
        scores = quick(self.corpus.dev, said, mode=self.tagger.config.intents)
        return {**scores, "score": sum(scores.values()) / max(len(scores), 1)}


@dataclass(frozen=True)
class Fitted:
    """A tagger with its best weights, and how it came to them."""

    model: Tagger
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
    """Trains a tagger on a corpus and calibrates it on the dev set.

    Args:
        folder: for checkpoints; with `resume` the training goes on from the last one there.
        trackers: as for `cutaway.core.training.train`.

    Raises:
        CutawayError: an option out of range, a part that does not exist, nothing to learn, or no dev set.
    """
    config.check()
    if not corpus.dev:
        raise CutawayError(
            f"{corpus.name} has no dev set to choose the weights by: give one, or more sentences to train on"
        )
    torch.manual_seed(config.training.seed)
    tagger = (continued if config.start else new_tagger)(config, corpus.train)
    task = TaggingTask(tagger, corpus)
    if not task.evaluate(tagger).keys() - {"score"}:
        raise CutawayError(f"the dev set of {corpus.name} has nothing of what is to be learned: give one with labels")
    trained = train(task, config.training, folder, progress=progress, resume=resume, trackers=trackers)
    tagger.calibration = calibrated(tagger, corpus)
    return Fitted(tagger.eval(), trained)


def calibrated(tagger: Tagger, corpus: Corpus) -> Calibration:
    """Temperatures and the threshold of rejection, all chosen on dev."""
    read = tagger.read(corpus.dev)
    hot = 1.0
    if (head := tagger.head) and (mine := [i for i, s in enumerate(corpus.dev) if _known(tagger, s)]):
        scores = intent_scores([read[i] for i in mine])
        targets = head.targets([corpus.dev[i] for i in mine])
        hot = calibrating.intent_temperature(lambda t: head.losses(scores / t, targets).mean().item())
    pairs = [
        (found.confidence, found.span in there)
        for sentence, each in zip(corpus.dev, read, strict=True)
        if sentence.tags
        for there in [set(sentence.spans())]
        for found in each.spans
    ]
    spans = calibrating.span_temperature([p for p, _ in pairs], [right for _, right in pairs])
    made = Calibration(hot, spans)
    if not tagger.head:
        return made
    outside = confidences(tagger, tagger.read(corpus.outside), made)
    below = calibrating.threshold(confidences(tagger, read, made), outside, tagger.config.rejected)
    return Calibration(hot, spans, below)


def _known(tagger: Tagger, sentence: Sentence) -> bool:
    """Does it have an intent that the head could give?"""
    names = [sentence.intent] if tagger.config.intents == "label" else sentence.intents
    return bool(sentence.intents) and all(name in tagger.labels.intents for name in names)
