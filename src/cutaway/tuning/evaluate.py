"""A tuned model on examples with known answers: scores with intervals."""

from collections.abc import Sequence

from cutaway.core.errors import CutawayError
from cutaway.tuning.corpus import Corpus
from cutaway.tuning.data import Example
from cutaway.tuning.model import Answer, TunedModel
from cutaway.tuning.scores import Scores, label_scores, number_scores, quick, text_scores


def evaluate(model: TunedModel, examples: Sequence[Example]) -> Scores:
    """Scores of a tuned model.

    Raises:
        CutawayError: no examples, some without an answer, or answers of another kind than the model gives.
    """
    _check(model, examples)
    answers, task = model.read(examples), model.task
    if task.kind == "labels":
        return label_scores([str(x.answer) for x in examples], [str(a.said) for a in answers], task.labels)
    if task.kind == "scores":
        return number_scores([_number(x) for x in examples], [float(a.said) for a in answers])
    return text_scores(*_written(answers))


def dev_scores(model: TunedModel, corpus: Corpus) -> dict[str, float]:
    """Means on the dev set, without intervals; `score` is what chooses the weights."""
    answers, examples, kind = model.read(corpus.dev), corpus.dev, model.task.kind
    if kind == "labels":
        found = quick(kind, [str(x.answer) for x in examples], [str(a.said) for a in answers], model.task.labels)
    elif kind == "scores":
        found = quick(kind, [_number(x) for x in examples], [float(a.said) for a in answers])
    else:
        found = quick(kind, *_written(answers))
    return {**found, "score": found[corpus.metric]}


def _written(answers: Sequence[Answer]) -> tuple[list[float], list[int], list[int], list[bool]]:
    """Of each answer: its log-likelihood, its tokens, those that are the most likely ones, and whether all are. Where each is the
    most likely one given the right ones before it, greedy decoding writes just this answer."""
    each = [(a.log_likelihood, a.tokens, a.right, a.right == a.tokens) for a in answers]
    likely, tokens, right, exact = zip(*each, strict=True)
    return list(likely), list(tokens), list(right), list(exact)


def _number(example: Example) -> float:
    assert isinstance(example.answer, float)
    return example.answer


def _check(model: TunedModel, examples: Sequence[Example]) -> None:
    if not examples:
        raise CutawayError("there are no examples to evaluate on: give some")
    if (at := next((i for i, x in enumerate(examples, 1) if x.answer is None), None)) is not None:
        raise CutawayError(f"example {at} has no answer, so it cannot be measured: use predict, or give answers")
    wanted = float if model.task.kind == "scores" else str
    if wrong := next((x for x in examples if not isinstance(x.answer, wanted)), None):
        raise CutawayError(
            f"the model gives {model.task.kind}, the data have answers such as {wrong.answer!r}: give others"
        )
