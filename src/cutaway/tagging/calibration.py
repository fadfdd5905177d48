"""Confidences that mean what they say, and the sentences that are none of the model's business.

A temperature divides scores before they become probabilities (Guo et al. 2017, On calibration of modern neural networks, §4.2):
those of intents as they are, of spans the log-odds of their confidence. Both are chosen on the dev set, where they make what
happened likeliest. A sentence is rejected if the confidence in its intent is below a threshold (Hendrycks & Gimpel 2017, A baseline
for detecting misclassified and out-of-distribution examples), also chosen on dev.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

COLDEST, HOTTEST = 1 / 8, 16.0
"""Temperatures that are looked at. A dev set without a mistake would like to be certain: it may not."""
SURE = 1e-6
"""Confidences stay so far from 0 and 1."""


@dataclass(frozen=True)
class Calibration:
    """What is chosen on the dev set once training is over."""

    intent_temperature: float = 1.0
    span_temperature: float = 1.0
    reject_below: float = 0.0
    """The confidence in an intent below which a sentence is rejected; 0 rejects nothing."""

    def of_span(self, confidence: float) -> float:
        """A span's confidence, calibrated."""
        return float(torch.sigmoid(_odds(torch.tensor([confidence])) / self.span_temperature))


def intent_temperature(losses: Callable[[float], float]) -> float:
    """The temperature with the smallest loss; `losses` gives the mean loss on dev at a temperature."""
    return _smallest(losses)


def span_temperature(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """The temperature under which the confidences of spans that were found fit best whether they are right."""
    if not confidences:
        return 1.0
    odds, wanted = _odds(torch.tensor(confidences)), torch.tensor(right, dtype=torch.float32)
    return _smallest(lambda t: binary_cross_entropy_with_logits(odds / t, wanted).item())


def threshold(inside: Sequence[float], outside: Sequence[float], share: float) -> float:
    """The confidence below which a sentence is taken for one of another domain.

    Args:
        inside, outside: confidences in intents of dev sentences of the domain, and of another.
        share: how many of the dev sentences may be rejected, if there are none of another domain.

    With both, the threshold at which the shares told apart rightly, inside and outside, have the largest mean.
    """
    if not inside:
        return 0.0
    kept = torch.tensor(sorted(inside))
    if not outside:
        return float(kept[int(share * len(kept))])
    strange = torch.tensor(outside)
    every = torch.cat([kept, strange]).unique()
    between = (every[1:] + every[:-1]) / 2
    if not len(between):
        return 0.0
    told = [(kept >= t).float().mean() + (strange < t).float().mean() for t in between]
    return float(between[int(torch.stack(told).argmax())])


def auroc(inside: Sequence[float], outside: Sequence[float]) -> float:
    """The probability that a sentence of the domain is more confident than one of another (ties count half)."""
    a, b = torch.tensor(inside)[:, None], torch.tensor(outside)[None]
    return float(((a > b).float() + (a == b).float() / 2).mean())


def calibration_error(confidences: Float[Tensor, " n"], right: Bool[Tensor, " n"], bins: int = 15) -> float | None:
    """The expected calibration error (Guo et al. 2017, eq. 3): how far confidence and accuracy are apart, on average over bins of
    equal width; None without any."""
    if not len(confidences):
        return None
    place = (confidences * bins).long().clamp_max(bins - 1)
    gap = torch.zeros(bins).index_add_(0, place, right.float() - confidences)
    return float(gap.abs().sum() / len(confidences))


def _odds(confidences: Tensor) -> Tensor:
    return confidences.clamp(SURE, 1 - SURE).logit()


def _smallest(f: Callable[[float], float], steps: int = 40) -> float:
    """Where `f` is smallest between the coldest and the hottest temperature, by golden section over the logarithm."""
    golden = (5**0.5 - 1) / 2
    low, high = log(COLDEST), log(HOTTEST)
    a, b = high - golden * (high - low), low + golden * (high - low)
    at_a, at_b = f(exp(a)), f(exp(b))
    for _ in range(steps):
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - golden * (high - low)
            at_a = f(exp(a))
        else:
            low, a, at_a = a, b, at_b
            b = low + golden * (high - low)
            at_b = f(exp(b))
    return exp((low + high) / 2)
