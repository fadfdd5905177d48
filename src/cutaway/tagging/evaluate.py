"""A tagger on sentences with known answers: scores with intervals, how far its confidences hold, what it rejects."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from cutaway.core.errors import CutawayError
from cutaway.tagging.calibration import Calibration, auroc, calibration_error
from cutaway.tagging.data import Sentence
from cutaway.tagging.model import Read, Tagger, intent_scores
from cutaway.tagging.relaxed import Relaxed, relaxed
from cutaway.tagging.scores import Answer, Scores, score


@dataclass(frozen=True)
class Confidence:
    """The expected calibration error (15 bins) with and without the temperatures that were chosen on dev; None without any."""

    intents: float | None
    intents_uncalibrated: float | None
    spans: float | None
    spans_uncalibrated: float | None


@dataclass(frozen=True)
class Rejection:
    """Sentences of the domain and of another, told apart by the confidence in their intent."""

    inside: int
    outside: int
    rejected_inside: float
    """Share of the domain's sentences that are rejected, of which there should be few."""
    rejected_outside: float
    auroc: float


@dataclass(frozen=True)
class Evaluation:
    """All that is measured."""

    scores: Scores
    confidence: Confidence
    rejection: Rejection | None
    relaxed: Relaxed | None
    """Near misses counted, if that was asked for."""

    def to_dict(self) -> dict:
        return {
            **self.scores.to_dict(),
            "calibration_error": asdict(self.confidence),
            "rejection": asdict(self.rejection) if self.rejection else None,
            "relaxed": self.relaxed.to_dict() if self.relaxed else None,
        }


def evaluate(
    tagger: Tagger, sentences: Sequence[Sentence], *, outside: Sequence[Sentence] = (), near: bool = False
) -> Evaluation:
    """Scores of a tagger.

    Args:
        outside: sentences of another domain, which it should reject.
        near: count near misses of spans too (`relaxed.py`; wants nervaluate).

    Raises:
        CutawayError: no sentences, none with labels of the kind that the tagger gives, or nervaluate is not installed.
    """
    if not sentences:
        raise CutawayError("there are no sentences to evaluate on: give some")
    read = tagger.read(sentences)
    labels, mode = tagger.labels, tagger.config.intents
    said = answers(tagger, read)
    found = score(sentences, said, mode=mode, seen_types=labels.spans, seen_intents=labels.intents)
    if not found.means():
        raise CutawayError(
            "the sentences have neither tags nor intents that the tagger gives: there is nothing to compare"
        )
    pairs = [(s.spans(), a.spans) for s, a in zip(sentences, said, strict=True) if s.tags and a.spans is not None]
    misses = relaxed([x for x, _ in pairs], [x for _, x in pairs]) if near and pairs else None
    return Evaluation(found, _confidence(tagger, sentences, read), _rejection(tagger, read, outside), misses)


def answers(tagger: Tagger, read: Sequence[Read]) -> list[Answer]:
    """What the model says, without its confidences."""
    intents = [None] * len(read)
    if tagger.head and read:
        chosen = tagger.head.choose(intent_scores(read))
        intents = [tuple(intent.name for intent in some) for some in chosen]
    return [
        Answer([found.span for found in each.spans] if tagger.decoder else None, some)
        for each, some in zip(read, intents, strict=True)
    ]


def confidences(tagger: Tagger, read: Sequence[Read], calibration: Calibration) -> list[float]:
    """How sure the model is of the likeliest intent of each sentence."""
    if not tagger.head or not read:
        return []
    scores = intent_scores(read) / calibration.intent_temperature
    return tagger.head.probabilities(scores).amax(-1).tolist()


def _confidence(tagger: Tagger, sentences: Sequence[Sentence], read: Sequence[Read]) -> Confidence:
    def of_intents(calibration: Calibration) -> float | None:
        mine = [i for i, s in enumerate(sentences) if s.intents and tagger.head]
        sure = confidences(tagger, [read[i] for i in mine], calibration)
        best = [tagger.labels.intents[k] for k in intent_scores([read[i] for i in mine]).argmax(-1)] if mine else []
        mode = tagger.config.intents
        right = [
            name == sentences[i].intent if mode == "label" else name in sentences[i].intents
            for i, name in zip(mine, best, strict=True)
        ]
        return calibration_error(torch.tensor(sure), torch.tensor(right, dtype=torch.bool))

    def of_spans(calibration: Calibration) -> float | None:
        pairs = [
            (calibration.of_span(found.confidence), found.span in set(sentence.spans()))
            for sentence, each in zip(sentences, read, strict=True)
            if sentence.tags
            for found in each.spans
        ]
        return calibration_error(
            torch.tensor([sure for sure, _ in pairs]), torch.tensor([right for _, right in pairs], dtype=torch.bool)
        )

    made, plain = tagger.calibration, Calibration()
    return Confidence(of_intents(made), of_intents(plain), of_spans(made), of_spans(plain))


def _rejection(tagger: Tagger, read: Sequence[Read], outside: Sequence[Sentence]) -> Rejection | None:
    if not tagger.head or not outside:
        return None
    mine = torch.tensor(confidences(tagger, read, tagger.calibration))
    strange = torch.tensor(confidences(tagger, tagger.read(outside), tagger.calibration))
    below = tagger.calibration.reject_below
    return Rejection(
        inside=len(mine),
        outside=len(strange),
        rejected_inside=float((mine < below).float().mean()),
        rejected_outside=float((strange < below).float().mean()),
        auroc=auroc(mine.tolist(), strange.tolist()),
    )
