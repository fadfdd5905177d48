"""How right answers are: the metrics of GLUE for labels and scores, likelihoods for texts, each with a bootstrap interval.

*Labels.* Accuracy; F1, of two classes that of the second in sorted order ("1", "true"), of more the mean of those that are there or
said (macro); Matthews' correlation, for more classes R_k (Gorodkin 2004, Comparing two K-category assignments by a K-category
correlation coefficient, eq. 8):

    R_k = (n Σᵢ rightᵢ − Σₖ thereₖ saidₖ) / √((n² − Σₖ thereₖ²) (n² − Σₖ saidₖ²))

A label that training never showed is a class of its own, which nobody says: counted as wrong.
*Scores.* Pearson's and Spearman's correlation and the mean of both, as GLUE has it for STS-B. Spearman's is Pearson's of ranks,
ties averaged; resamples are drawn of the ranks among all data and not ranked again.
*Texts.* Log-likelihood of a token, its perplexity, the share of tokens that are each the likeliest, and of texts of which all are.

A correlation with a constant is 0, as is F1 of a class that is neither there nor said. Every metric is computed from sums over
samples, so that all resamples are one product of matrices.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.core.errors import CutawayError
from cutaway.core.scores import Estimate, estimates

MOST = 700.0
"""The greatest exponent of a perplexity, so that it stays a number: e⁷⁰⁰ is some 10³⁰⁴."""

CONSTANT = 1e-12
"""A variance below this share of the mean square is rounding of a constant."""

Counts = Float[Tensor, "resample sample"]
"""How often each sample is there, in float64."""

Statistics = Callable[[Counts], Mapping[str, Float[Tensor, " resample"]]]


@dataclass(frozen=True)
class Scores:
    """Of a model on some examples."""

    n: int
    kind: str
    """labels, scores or text."""
    protocol: str
    """What the values are, in a sentence."""
    values: Mapping[str, Estimate]
    """By metric."""
    unseen: Mapping[str, int] = field(default_factory=dict)
    """Labels that training never showed, and how often they were asked for."""

    def means(self) -> dict[str, float]:
        """Without intervals."""
        return {name: x.mean for name, x in self.values.items()}

    def to_dict(self) -> dict[str, Any]:
        told = {name: x.to_dict() for name, x in self.values.items()}
        return {"n": self.n, "kind": self.kind, "protocol": self.protocol, **told, "unseen": dict(self.unseen)}


def label_scores(there: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> Scores:
    """Accuracy, F1 and Matthews' correlation.

    Args:
        there, said: the right label of each example, and the model's.
        labels: those of training.

    Raises:
        CutawayError: no examples, or not as many answers.
    """
    f1 = f"F1 of {max(labels)!r}" if len(set(labels)) == 2 else "macro F1"
    unseen = dict(sorted(Counter(x for x in there if x not in set(labels)).items()))
    told = f"accuracy, {f1} and Matthews' correlation; unseen labels are wrong"
    return _scores("labels", told, _label_statistics(there, said, labels), len(there), unseen)


def number_scores(there: Sequence[float], said: Sequence[float]) -> Scores:
    """Pearson's and Spearman's correlation of the right scores and the model's, and their mean.

    Raises:
        CutawayError: no examples, not as many answers, or an answer that is no number.
    """
    told = "Pearson's correlation, Spearman's (ranks among all examples, ties averaged), and their mean"
    return _scores("scores", told, _number_statistics(there, said), len(there))


def text_scores(
    log_likelihoods: Sequence[float], tokens: Sequence[int], right: Sequence[int], exact: Sequence[bool] | None = None
) -> Scores:
    """Log-likelihood and perplexity a token, accuracy of tokens and of whole texts.

    Args:
        log_likelihoods: of all tokens of each text to be written, summed, in nats.
        tokens: how many these are.
        right: of how many the likeliest token is the right one, given those before.
        exact: whether the text is right as a whole; None: if all its tokens are, which is when the model would write it.

    Raises:
        CutawayError: no examples, not as many of each, a text without tokens, or a likelihood that is no number.
    """
    told = (
        "teacher-forced: mean log-likelihood (nats) and perplexity of a token, share of right tokens and of right texts"
    )
    return _scores("text", told, _text_statistics(log_likelihoods, tokens, right, exact), len(tokens))


def quick(kind: str, *answers: Sequence) -> dict[str, float]:
    """The values alone, as often as one likes.

    Args:
        kind: labels, scores or text.
        answers: what `label_scores`, `number_scores` or `text_scores` takes; labels of training that are not given are those that
            are there or said.
    """
    statistics = {"labels": _label_statistics, "scores": _number_statistics, "text": _text_statistics}[kind](*answers)
    once = torch.ones(1, len(answers[0]), dtype=torch.float64)
    return {name: value.item() for name, value in statistics(once).items()}


def _scores(kind: str, told: str, statistics: Statistics, n: int, unseen: Mapping[str, int] | None = None) -> Scores:
    protocol = f"{told}; intervals: bootstrap over examples, 95 %"
    return Scores(n, kind, protocol, estimates(statistics, n), unseen or {})


def _label_statistics(there: Sequence[str], said: Sequence[str], labels: Sequence[str] = ()) -> Statistics:
    _check("labels", there, said)
    known = sorted(set(labels) or {*there, *said})
    classes = sorted({*labels, *there, *said})
    number = {name: i for i, name in enumerate(classes)}
    asked, given = (torch.tensor([number[x] for x in some]) for some in (there, said))
    right = (asked == given).double()
    # of each sample, by class: there, said, both
    one = torch.eye(len(classes), dtype=torch.float64)
    sides = torch.cat([one[asked], one[given], one[asked] * right[:, None]], 1)
    second = number[known[1]] if len(known) == 2 else None

    def statistics(counts: Counts) -> dict[str, Float[Tensor, " resample"]]:
        n = counts.sum(-1)
        asks, says, both = (counts @ sides).chunk(3, -1)
        f1 = _ratio(2 * both, asks + says)
        macro = _ratio(f1.sum(-1), (asks + says > 0).double().sum(-1))
        joint = n * both.sum(-1) - (asks * says).sum(-1)
        spread = (n**2 - (asks**2).sum(-1)) * (n**2 - (says**2).sum(-1))
        return {
            "accuracy": counts @ right / n,
            "f1": macro if second is None else f1[:, second],
            "matthews": _ratio(joint, spread.sqrt()).clamp(-1, 1),
        }

    return statistics


def _number_statistics(there: Sequence[float], said: Sequence[float]) -> Statistics:
    _check("scores", there, said)
    x, y = (_numbers(some) for some in (there, said))
    pairs = {"pearson": (_scaled(x), _scaled(y)), "spearman": (_scaled(average_ranks(x)), _scaled(average_ranks(y)))}

    def statistics(counts: Counts) -> dict[str, Float[Tensor, " resample"]]:
        found = {name: _correlation(counts, *pair) for name, pair in pairs.items()}
        return {**found, "correlation": (found["pearson"] + found["spearman"]) / 2}

    return statistics


def _text_statistics(
    log_likelihoods: Sequence[float], tokens: Sequence[int], right: Sequence[int], exact: Sequence[bool] | None = None
) -> Statistics:
    exact = [a == b for a, b in zip(right, tokens, strict=False)] if exact is None else exact
    _check("texts", tokens, log_likelihoods, right, exact)
    sums = torch.stack([_numbers(some) for some in (log_likelihoods, tokens, right, exact)], 1)
    if (sums[:, 1] < 1).any():
        raise CutawayError("a text to be written has no tokens: leave it out")

    def statistics(counts: Counts) -> dict[str, Float[Tensor, " resample"]]:
        likely, n, good, whole = (counts @ sums).unbind(-1)
        return {
            "log_likelihood": likely / n,
            "perplexity": (-likely / n).clamp_max(MOST).exp(),
            "token_accuracy": good / n,
            "exact_match": whole / counts.sum(-1),
        }

    return statistics


def average_ranks(x: Float[Tensor, " sample"]) -> Float[Tensor, " sample"]:
    """From 1; equal ones share the mean of theirs."""
    _, place, times = x.unique(return_inverse=True, return_counts=True)
    last = times.cumsum(0)
    return (last - (times - 1) / 2).double()[place]


def _correlation(
    counts: Counts, x: Float[Tensor, " sample"], y: Float[Tensor, " sample"]
) -> Float[Tensor, " resample"]:
    """Pearson's, of each resample."""
    sums = counts @ torch.stack([x, y, x * x, y * y, x * y], 1) / counts.sum(-1, keepdim=True)
    mx, my, xx, yy, xy = sums.unbind(-1)
    vx, vy = (
        torch.where(square - mean**2 > CONSTANT * square, square - mean**2, torch.zeros_like(square))
        for square, mean in ((xx, mx), (yy, my))
    )
    return _ratio(xy - mx * my, (vx * vy).sqrt()).clamp(-1, 1)


def _scaled(x: Float[Tensor, " sample"]) -> Float[Tensor, " sample"]:
    """With mean 0 and a range of about 1, which changes no correlation and keeps digits; zeros for a constant, exactly."""
    # halves, because the difference of two numbers may be none; the first is taken off before the mean, which is rounded
    x = x / 2 - x[0] / 2
    x = x / x.abs().max().clamp_min(torch.finfo(x.dtype).tiny)
    return x - x.mean()


def _ratio(above: Float[Tensor, "*axes"], below: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """0 where there is nothing below."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1), 0)


def _numbers(some: Sequence[float | int]) -> Float[Tensor, " sample"]:
    found = torch.tensor(some, dtype=torch.float64)
    if bad := int((~found.isfinite()).sum()):
        raise CutawayError(f"{bad} of {len(found)} answers are no finite number: the model diverged; lower the rate")
    return found


def _check(what: str, first: Sequence, *others: Sequence) -> None:
    if not len(first):
        raise CutawayError(f"there are no {what} to measure: give at least one example with an answer")
    if odd := {len(some) for some in others} - {len(first)}:
        raise CutawayError(f"{len(first)} {what} and {min(odd)} answers: give one for each")
