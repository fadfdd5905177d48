"""What a tuned model answers to texts: a label with its confidence, a score, or words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from cutaway.core.errors import CutawayError
from cutaway.tuning.data import Example
from cutaway.tuning.model import DIVERGED, TunedModel

PAIR = "\t"
"""Stands between the two texts of a pair."""


@dataclass(frozen=True)
class Prediction:
    """An answer."""

    text: str
    pair: str | None
    answer: str | float
    confidences: dict[str, float] = field(default_factory=dict)
    """Of each label, the surest first."""

    def to_dict(self) -> dict:
        return {"text": self.text, "pair": self.pair, "answer": self.answer, "confidences": self.confidences}

    def __str__(self) -> str:
        """The text, and below it the answer."""
        asked = self.text if self.pair is None else f"{self.text}\n{self.pair}"
        if isinstance(self.answer, float):
            return f"{asked}\n  {self.answer:.3f}"
        if not self.confidences:
            return f"{asked}\n  {self.answer}"
        wide = max(map(len, self.confidences))
        return "\n".join([asked, *(f"  {name:<{wide}}  {p:6.1%}" for name, p in self.confidences.items())])


def predict(model: TunedModel, texts: Sequence[str], *, most: int = 32) -> list[Prediction]:
    """The answer to each text; the two texts of a pair stand in one, with a tab between them.

    Args:
        most: tokens to be written, where the answer is text; always the most likely one next.

    Raises:
        CutawayError: an empty text, or one with more than one tab.
    """
    examples = []
    for n, text in enumerate(texts, 1):
        first, *rest = text.split(PAIR)
        if not text.strip() or len(rest) > 1:
            raise CutawayError(f"text {n}, {text[:30]!r}: give a text, or two with one tab between them")
        examples.append(Example(first, rest[0] if rest else None))
    return answered(model, examples, most=most)


def answered(model: TunedModel, examples: Sequence[Example], *, most: int = 32) -> list[Prediction]:
    """The answer to each example, whose own is not looked at."""
    if most < 1:
        raise CutawayError(f"most is {most}: give at least 1 token")
    if model.task.kind == "text":
        written = write(model, [x.text for x in examples], most)
        return [Prediction(x.text, None, answer) for x, answer in zip(examples, written, strict=True)]
    found = []
    for x, a in zip(examples, model.read(examples), strict=True):
        sure = sorted(zip(model.task.labels, a.confidences, strict=False), key=lambda pair: -pair[1])
        found.append(Prediction(x.text, x.pair, a.said, dict(sure)))
    return found


@torch.no_grad()
def write(model: TunedModel, prompts: Sequence[str], most: int) -> list[str]:
    """The most likely continuation of each prompt, token by token, until the model ends it.

    Nothing is kept from one token to the next, so that every method can be used as it is; short answers do not mind.
    """
    reader, was = model.reader, model.training
    model.eval()
    written: list[list[int]] = [[] for _ in prompts]
    going = set(range(len(prompts)))
    for _ in range(most):
        for i, token in zip(
            sorted(going), _next(model, [(prompts[i], written[i]) for i in sorted(going)]), strict=True
        ):
            if token == reader.end:
                going.discard(i)
            else:
                written[i].append(token)
        if not going:
            break
    model.train(was)
    return [reader.tokenizer.decode(ids) for ids in written]


def _next(model: TunedModel, begun: Sequence[tuple[str, list[int]]]) -> list[int]:
    """The most likely token after each prompt and what was written behind it."""
    batch = model.reader.begun(begun)
    moved = {name: x.to(model.device) for name, x in batch.items()}
    logits = model.backbone(**model.reader.inputs(moved)).logits
    last = logits[torch.arange(len(logits)), moved["last"]]
    if last.isnan().any():
        raise CutawayError(DIVERGED)
    return last.argmax(-1).tolist()
