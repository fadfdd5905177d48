"""U-BitFit: those entries of the biases that matter most, found by pruning the others.

Lawton et al. 2023, Neural architecture search for parameter-efficient fine-tuning of large pre-trained language models (Findings of
ACL, arXiv 2305.16597), the unstructured variant. With δ what a bias has learned, an entry is as important as the loss would change
without it, to first order:

    I = |Σ δ ∂L/∂δ|        over the batches of a first training of all biases

The k = share × (all biases in `at`) most important learn, from the beginning; so many parameters it trains. The first training is
`Tuned.prepare`: one AdamW step for each of the batches given there, heads learn beside.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cutaway.core.errors import CutawayError
from cutaway.tuning import sparse
from cutaway.tuning.attach import Losses
from cutaway.tuning.method import Method
from cutaway.tuning.methods import bitfit


@dataclass(frozen=True)
class Options:
    """Of U-BitFit."""

    at: tuple[str, ...] = ("layer",)
    """Biases of which parts, as roles or patterns; all, if none are named."""
    share: float = 0.25
    """Of their entries, that learn."""
    rate: float = 1e-3
    """Learning rate of the first training."""


class ByImportance(sparse.Sparse):
    rate: float

    def prepare(self, batches: Iterable[Any], losses: Losses) -> None:
        with self.rehearsal(self.rate) as (biases, before, step):
            found = {name: torch.zeros_like(bias) for name, bias in biases.items()}
            for batch in batches:
                delta = {name: bias.detach() - before[name] for name, bias in biases.items()}
                step(losses(batch).mean())
                for name, bias in biases.items():
                    if bias.grad is not None:
                        found[name] += delta[name] * bias.grad
        if not any(x.any() for x in found.values()):
            raise CutawayError(
                "no bias has learned in the first training: give two batches or more, and a rate above 0"
            )
        self.choose(found)

    def choose(self, scores: Mapping[str, Tensor]) -> None:
        super().choose({name: x.abs() for name, x in scores.items()})


def biases(model: nn.Module, options: Any) -> list[str]:
    return bitfit.biases(model, bitfit.Options(at=options.at))


def attach(attached: ByImportance, options: Any) -> None:
    attached.spread(biases(attached.host, options), options.share)
    attached.rate = options.rate


def count(model: nn.Module, options: Options) -> int:
    return sparse.count(model, biases(model, options), options.share)


METHOD = Method(
    name="u_bitfit",
    kind="partial",
    about="the entries of the biases that matter most",
    citation=(
        "Lawton et al. 2023, Neural architecture search for parameter-efficient fine-tuning of large pre-trained language "
        "models (Findings of ACL, arXiv 2305.16597)"
    ),
    options=Options,
    attach=attach,
    count=count,
    attached=ByImportance,
    mergeable=True,
    needs_data=True,
)
