"""FISH mask: the entries of the weights with the most Fisher information learn, chosen once before training.

Sung, Nair & Raffel 2021, Training neural networks with fixed sparse masks (NeurIPS, arXiv 2111.09839), §3, by the empirical Fisher
information: with N examples,

    F_θ = 1/N Σᵢ (∂/∂θ log p(yᵢ | xᵢ))²        and the k entries with the largest F_θ learn

It trains k = share × (entries of all parameters in `at`). The method looks at the data: `Tuned.prepare` before training.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from cutaway.tuning import sparse
from cutaway.tuning.method import Method
from cutaway.tuning.places import inside


@dataclass(frozen=True)
class Options:
    """Of the FISH mask."""

    at: tuple[str, ...] = ("layer",)
    """In which parts, as roles or patterns."""
    share: float = 0.005
    """Of their entries, that learn."""
    samples: int = 1024
    """Examples to choose by, N; fewer, if there are fewer."""


def attach(attached: sparse.ByFisher, options: Any) -> None:
    attached.spread(inside(attached.host, options.at), options.share)
    attached.samples = options.samples


def count(model: nn.Module, options: Any) -> int:
    return sparse.count(model, inside(model, options.at), options.share)


METHOD = Method(
    name="fish_mask",
    kind="partial",
    about="the entries with the most Fisher information",
    citation="Sung, Nair & Raffel 2021, Training neural networks with fixed sparse masks (NeurIPS, arXiv 2111.09839), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=sparse.ByFisher,
    mergeable=True,
    needs_data=True,
)
