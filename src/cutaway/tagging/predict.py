"""What a tagger reads in plain text: the intents and slots of a sentence as a frame, with confidences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cutaway.core.errors import CutawayError
from cutaway.tagging.data import Sentence
from cutaway.tagging.intents import Intent
from cutaway.tagging.model import Read, Tagger, intent_scores


class Slot(NamedTuple):
    """A span of words, what it is, and how sure the model is of it, from 0 to 1."""

    type: str
    text: str
    start: int
    end: int
    """The first word, and the one behind the last."""
    confidence: float


@dataclass(frozen=True)
class Frame:
    """A sentence as it was understood."""

    words: tuple[str, ...]
    intents: tuple[Intent, ...]
    """The surest first; empty if the model knows none."""
    slots: tuple[Slot, ...]
    rejected: bool
    """The confidence in the intent lies below the threshold that was chosen on dev: the sentence seems to be of another domain."""

    def to_dict(self) -> dict:
        return {
            "text": " ".join(self.words),
            "intents": [intent._asdict() for intent in self.intents],
            "slots": [slot._asdict() for slot in self.slots],
            "rejected": self.rejected,
        }

    def __str__(self) -> str:
        """The sentence, and below it a line for every intent and slot."""
        rows = [("intent", intent.name, "", f"{intent.confidence:5.1%}") for intent in self.intents]
        rows += [("slot", slot.type, slot.text, f"{slot.confidence:5.1%}") for slot in self.slots]
        wide = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
        lines = ["  " + "  ".join(f"{x:<{n}}" for x, n in zip(row, wide, strict=True)).rstrip() for row in rows]
        said = ["  rejected: seems to be of another domain"] if self.rejected else []
        return "\n".join([" ".join(self.words), *said, *(lines or ["  nothing found"])])


def predict(tagger: Tagger, texts: Sequence[str]) -> list[Frame]:
    """The frame of each text, whose words stand between spaces, as in the data that the tagger learned from.

    Raises:
        CutawayError: a text without words, or with more than any sentence may have.
    """
    sentences = []
    for n, text in enumerate(texts, 1):
        try:
            sentences.append(Sentence(tuple(text.split())))
        except CutawayError as error:
            raise CutawayError(f"text {n}, {text[:30]!r}: {error}") from error
    return frames(tagger, sentences)


def frames(tagger: Tagger, sentences: Sequence[Sentence]) -> list[Frame]:
    """The frame of each sentence, of which the words alone are looked at."""
    return [_frame(tagger, s.words, each) for s, each in zip(sentences, tagger.read(sentences), strict=True)]


def _frame(tagger: Tagger, words: tuple[str, ...], read: Read) -> Frame:
    calibration = tagger.calibration
    intents: tuple[Intent, ...] = ()
    if tagger.head:
        (intents,) = tagger.head.choose(intent_scores([read]) / calibration.intent_temperature)
    slots = tuple(
        Slot(span.type, " ".join(words[span.start : span.end]), span.start, span.end, calibration.of_span(confidence))
        for span, confidence in read.spans
    )
    rejected = bool(intents) and intents[0].confidence < calibration.reject_below
    return Frame(words, intents, slots, rejected)
