"""Lottery-ticket sparse fine-tuning: what moves most when everything is tuned, is tuned alone, from the beginning.

Ansell et al. 2022, Composable sparse fine-tuning for cross-lingual transfer (ACL, arXiv 2110.07560), §3:

    1. tune everything, θ⁰ → θ¹          2. choose the k entries with the largest |θ¹ − θ⁰|
    3. back to θ⁰                        4. tune those alone; their difference is the sparse fine-tuning

In both trainings (λ / n) ‖θ − θ⁰‖₁ may be added to the loss, n the number of what is tuned. It trains k = share × (entries of all
parameters in `at`). Steps 1 to 3 are `Tuned.prepare`: one AdamW step for each of the batches given there, heads learn beside; it
needs the memory of full fine-tuning for that while.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning import sparse
from cutaway.tuning.attach import Losses
from cutaway.tuning.method import Method
from cutaway.tuning.places import inside


@dataclass(frozen=True)
class Options:
    """Of lottery-ticket sparse fine-tuning."""

    at: tuple[str, ...] = ("layer",)
    """In which parts, as roles or patterns."""
    share: float = 0.05
    """Of their entries, that learn."""
    rate: float = 5e-5
    """Learning rate of the first training."""
    l1: float = 0.0
    """λ."""


class LotteryTicket(sparse.Sparse):
    rate: float
    l1: float

    def prepare(self, batches: Iterable[Any], losses: Losses) -> None:
        moved: dict[str, Tensor] = {}
        with self.rehearsal(self.rate) as (weights, before, step):
            for batch in batches:
                loss = losses(batch).mean()
                step(loss + self.l1 * distance(weights, before) if self.l1 else loss)
            moved = {name: (weight.detach() - before[name]).abs() for name, weight in weights.items()}
        if not any(x.any() for x in moved.values()):
            raise CutawayError("nothing moved in the first training: give batches, and a rate above 0")
        self.choose(moved)

    def loss(self) -> Tensor | None:
        values = [change.values for change in self.changes.values()]
        return self.l1 * torch.cat(values).abs().mean() if self.l1 else None


def distance(weights: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """‖θ − θ⁰‖₁ / n."""
    far = torch.stack([(weight - before[name]).abs().sum() for name, weight in weights.items()])
    return far.sum() / sum(weight.numel() for weight in weights.values())


def attach(attached: LotteryTicket, options: Options) -> None:
    attached.spread(inside(attached.host, options.at), options.share)
    attached.rate, attached.l1 = options.rate, options.l1


def count(model: nn.Module, options: Options) -> int:
    return sparse.count(model, inside(model, options.at), options.share)


METHOD = Method(
    name="lt_sft",
    kind="partial",
    about="the entries that move most when everything is tuned",
    citation="Ansell et al. 2022, Composable sparse fine-tuning for cross-lingual transfer (ACL, arXiv 2110.07560), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=LotteryTicket,
    mergeable=True,
    needs_data=True,
)
