"""S-BitFit: those biases that matter most, each as a whole, found by pruning the others.

Lawton et al. 2023, Neural architecture search for parameter-efficient fine-tuning of large pre-trained language models (Findings of
ACL, arXiv 2305.16597), the structured variant: where U-BitFit (u_bitfit.py) decides on each entry, here it is decided of each bias
whether it learns. With δ what a bias b has learned in a first training of all of them, b is as important as the loss would change
without it, to first order:

    I_b = |Σ δ · ∂L/∂δ|        over the entries of b and the batches

Of the biases in `at` of one width, a share is kept, rounded and at least one: so what it trains is known before the data is seen,
max(1, round(share × N_w)) w summed over the widths w, of which there are N_w biases each. The first training is `Tuned.prepare`,
as in U-BitFit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cutaway.tuning import sparse
from cutaway.tuning.method import Method
from cutaway.tuning.methods import u_bitfit


@dataclass(frozen=True)
class Options:
    """Of S-BitFit."""

    at: tuple[str, ...] = ("layer",)
    """Biases of which parts, as roles or patterns; all, if none are named."""
    share: float = 0.25
    """Of the biases of one width, that learn."""
    rate: float = 1e-3
    """Learning rate of the first training."""


class Whole(u_bitfit.ByImportance):
    """Biases that learn as a whole, or not at all."""

    share: float

    def spread(self, names: Sequence[str], share: float) -> None:
        """Makes room for the first biases of each width."""
        self.share = share
        for name in names:
            self.on_weight(name, sparse.Scatter(self.own(name).detach(), torch.arange(0)))
        self.keep(dict.fromkeys(names, 0.0))

    def choose(self, scores: Mapping[str, Tensor]) -> None:
        self.keep({name: abs(float(x.sum())) for name, x in scores.items()})
        self.prepared = True

    def keep(self, importance: Mapping[str, float]) -> None:
        """Of each width the most important ones."""
        for alike in widths({name: self.base[name] for name in self.changes}).values():
            ranked = sorted(alike, key=lambda name: -importance[name])
            kept = {*ranked[: sparse.budget(len(alike), self.share)]}
            for name in alike:
                self.changes[name].choose(self.base[name], torch.arange(self.base[name].numel() if name in kept else 0))


def widths(biases: Mapping[str, Tensor]) -> dict[int, list[str]]:
    """Names of the biases of each width."""
    found: dict[int, list[str]] = {}
    for name, bias in biases.items():
        found.setdefault(bias.numel(), []).append(name)
    return found


def count(model: nn.Module, options: Any) -> int:
    names = u_bitfit.biases(model, options)
    found = widths({name: model.get_parameter(name) for name in names})
    return sum(sparse.budget(len(alike), options.share) * width for width, alike in found.items())


METHOD = Method(
    name="s_bitfit",
    kind="partial",
    about="the biases that matter most, each as a whole",
    citation=(
        "Lawton et al. 2023, Neural architecture search for parameter-efficient fine-tuning of large pre-trained language "
        "models (Findings of ACL, arXiv 2305.16597)"
    ),
    options=Options,
    attach=u_bitfit.attach,
    count=count,
    attached=Whole,
    mergeable=True,
    needs_data=True,
)
