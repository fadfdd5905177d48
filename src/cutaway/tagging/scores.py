"""How right the spans and intents of sentences are.

*Span F1* is that of conlleval (Tjong Kim Sang & De Meulder 2003): a span is right if its start, end and type are; counts are summed
over all sentences (micro). *Intent accuracy* is the share of sentences whose intents are all and only the right ones. *Frame
accuracy* is the share of sentences in which everything is right. What training has never seen counts as what it is: wrong.
Intervals are of the bootstrap over sentences.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.core.scores import Estimate, estimate, estimate_ratio
from cutaway.tagging.data import Sentence
from cutaway.tagging.intents import SEVERAL
from cutaway.tagging.schemes import Span


class Answer(NamedTuple):
    """What a model says of a sentence; None where it says nothing of the kind."""

    spans: Sequence[Span] | None
    intents: tuple[str, ...] | None


@dataclass(frozen=True)
class SpanScore:
    """Exact match of spans."""

    precision: Estimate
    recall: Estimate
    f1: Estimate
    there: int
    """Spans to be found."""
    found: int


@dataclass(frozen=True)
class Unseen:
    """What the sentences ask for and training has not shown. No model can get these right, unless it knows intents as a set."""

    intents: dict[str, int]
    """Label → sentences."""
    types: dict[str, int]
    """Type → spans."""

    def __str__(self) -> str:
        def told(some: dict[str, int], what: str) -> str:
            return f"{len(some)} {what} ({', '.join(f'{name} {n}×' for name, n in sorted(some.items()))})"

        parts = [told(self.intents, "intents")] * bool(self.intents) + [told(self.types, "types")] * bool(self.types)
        return f"unseen in training, counted as wrong: {'; '.join(parts)}" if parts else "nothing is unseen in training"


@dataclass(frozen=True)
class Scores:
    """Of a model on some sentences."""

    n: int
    protocol: str
    intent_accuracy: Estimate | None
    spans: SpanScore | None
    frame_accuracy: Estimate | None
    by_type: dict[str, SpanScore]
    unseen: Unseen

    def means(self) -> dict[str, float]:
        """The three numbers without their intervals, as far as there are such."""
        f1 = self.spans.f1 if self.spans else None
        three = {"intent_accuracy": self.intent_accuracy, "span_f1": f1, "frame_accuracy": self.frame_accuracy}
        return {name: x.mean for name, x in three.items() if x is not None}

    def to_dict(self) -> dict:
        return asdict(self)


def protocol(mode: str) -> str:
    """The name of what is measured."""
    intents = {
        "label": "several intents are one label",
        "set": "several intents are a set, in any order",
        "off": "no intents",
    }
    return f"exact match of spans (conlleval, micro); {intents[mode]}; intervals: bootstrap over sentences, 95 %"


def score(
    sentences: Sequence[Sentence],
    answers: Sequence[Answer],
    *,
    mode: str,
    seen_types: Sequence[str] = (),
    seen_intents: Sequence[str] = (),
) -> Scores:
    """Scores of answers against what the sentences say. A sentence without tags, or without intent, is left out of what needs
    them.

    Args:
        mode: how intents are read, as in `Config.intents`.
        seen_types, seen_intents: what training has shown.
    """
    counts = _Counts(sentences, answers)
    intents, frames = _rights(sentences, answers, mode)
    types = sorted(counts.types())
    return Scores(
        n=len(sentences),
        protocol=protocol(mode),
        intent_accuracy=estimate(torch.tensor(intents)) if intents else None,
        spans=counts.score(None) if counts.rows else None,
        frame_accuracy=estimate(torch.tensor(frames)) if frames else None,
        by_type={kind: counts.score(kind) for kind in types},
        unseen=_unseen(sentences, answers, mode, set(seen_types), set(seen_intents)),
    )


def quick(sentences: Sequence[Sentence], answers: Sequence[Answer], *, mode: str) -> dict[str, float]:
    """The three numbers alone, as often as one likes."""
    counts, (intents, frames) = _Counts(sentences, answers), _rights(sentences, answers, mode)
    told: dict[str, float] = {}
    if intents:
        told["intent_accuracy"] = sum(intents) / len(intents)
    if counts.rows:
        right, there, found = counts.sums(None).sum(1).tolist()
        told["span_f1"] = 2 * right / (there + found) if there + found else 0.0
    if frames:
        told["frame_accuracy"] = sum(frames) / len(frames)
    return told


class _Counts:
    """Of each sentence that has tags: right, there, found, by type."""

    def __init__(self, sentences: Sequence[Sentence], answers: Sequence[Answer]):
        self.rows: list[tuple[Counter, Counter, Counter]] = []
        for sentence, answer in zip(sentences, answers, strict=True):
            if sentence.tags and answer.spans is not None:
                there, found = set(sentence.spans()), set(answer.spans)
                self.rows.append(tuple(Counter(s.type for s in some) for some in (there & found, there, found)))  # type: ignore[arg-type]

    def types(self) -> set[str]:
        return {kind for row in self.rows for kind in row[1] | row[2]}

    def sums(self, kind: str | None) -> Float[Tensor, "3 sentence"]:
        of = [[each.total() if kind is None else each[kind] for each in row] for row in self.rows]
        return torch.tensor(of, dtype=torch.float32).reshape(-1, 3).T

    def score(self, kind: str | None) -> SpanScore:
        right, there, found = self.sums(kind)
        return SpanScore(
            precision=estimate_ratio(right, found),
            recall=estimate_ratio(right, there),
            f1=estimate_ratio(2 * right, there + found),
            there=int(there.sum()),
            found=int(found.sum()),
        )


def _rights(sentences: Sequence[Sentence], answers: Sequence[Answer], mode: str) -> tuple[list[float], list[float]]:
    """Whether the intents of each sentence are right, and whether all of it is."""
    intents, frames = [], []
    for sentence, answer in zip(sentences, answers, strict=True):
        if not sentence.intents or answer.intents is None:
            continue
        right = (
            SEVERAL.join(answer.intents) == sentence.intent
            if mode == "label"
            else {*answer.intents} == {*sentence.intents}
        )
        intents.append(float(right))
        if sentence.tags and answer.spans is not None:
            frames.append(float(right and {*answer.spans} == {*sentence.spans()}))
    return intents, frames


def _unseen(
    sentences: Sequence[Sentence], answers: Sequence[Answer], mode: str, types: set[str], intents: set[str]
) -> Unseen:
    asked = zip(sentences, answers, strict=True)
    pairs = [(s, [s.intent] if mode == "label" else s.intents, a) for s, a in asked]
    return Unseen(
        dict(
            Counter(
                i for s, names, a in pairs if s.intents and a.intents is not None for i in names if i not in intents
            )
        ),
        dict(Counter(x.type for s, _, a in pairs if a.spans is not None for x in s.spans() if x.type not in types)),
    )
