"""Every metric is `[batch, step]`: one number for each prompt and each token of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cutaway.circuits.behavior import Behavior
from cutaway.core.errors import CutawayError


@dataclass(frozen=True)
class Scorer:
    """Reads the logits of a few columns: the answers and their alternatives.

    `columns` are the token ids whose logits it wants; `answer` and `alternatives` index them (−1 is padding).
    """

    columns: Int[Tensor, " column"]
    answer: Int[Tensor, "batch step"]
    alternatives: Int[Tensor, "batch step alternative"]

    def steps(self, steps: Sequence[int]) -> "Scorer":
        """The same for some of the answer steps."""
        return Scorer(self.columns, self.answer[:, list(steps)], self.alternatives[:, list(steps)])

    def measure(
        self, metric: str, logits: Float[Tensor, "*cell batch step column"]
    ) -> Float[Tensor, "*cell batch step"]:
        """One of `METRICS` by name; raises `CutawayError` for any other."""
        if metric not in METRICS:
            raise CutawayError(f"no metric {metric!r}: known are {', '.join(METRICS)}")
        return getattr(self, metric)(logits)

    def logit_diff(self, logits: Float[Tensor, "*cell batch step column"]) -> Float[Tensor, "*cell batch step"]:
        """logit(answer) − max logit(alternatives), as in the acronym paper (§3.2)."""
        right, wrong = self._gather(logits)
        return right - wrong.amax(-1)

    def correct(self, logits: Float[Tensor, "*cell batch step column"]) -> Float[Tensor, "*cell batch step"]:
        """1 where the answer beats every alternative, else 0."""
        return (self.logit_diff(logits) > 0).float()

    def log_prob(self, logits: Float[Tensor, "*cell batch step column"]) -> Float[Tensor, "*cell batch step"]:
        """log p(answer) among the answer and its alternatives, in nats."""
        right, wrong = self._gather(logits)
        return right - torch.cat([right[..., None], wrong], -1).logsumexp(-1)

    def _gather(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        lead = logits.shape[:-3]
        right = logits.gather(-1, self.answer[..., None].expand(*lead, -1, -1, -1)).squeeze(-1)
        wrong = logits.gather(-1, self.alternatives.clamp(min=0).expand(*lead, -1, -1, -1))
        return right, wrong.masked_fill(self.alternatives < 0, -torch.inf)


def scorer(behavior: Behavior) -> Scorer:
    used = torch.cat([behavior.answers.flatten(), behavior.alternatives.flatten()])
    columns = used[used >= 0].unique()
    answer = torch.searchsorted(columns, behavior.answers)
    alternatives = torch.searchsorted(columns, behavior.alternatives.clamp(min=0))
    return Scorer(columns, answer, alternatives.masked_fill(behavior.alternatives < 0, -1))


METRICS = ("logit_diff", "correct", "log_prob")
"""Names of the scorer's methods, for options and records."""


def greedy_matches(logits: Float[Tensor, "batch step vocab"], behavior: Behavior) -> Bool[Tensor, "batch step"]:
    """Is the answer the most likely token of the whole vocabulary?"""
    return logits.argmax(-1) == behavior.answers
