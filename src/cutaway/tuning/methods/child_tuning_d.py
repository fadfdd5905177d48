"""Child-Tuning D: a child network, chosen once by Fisher information over the task's data, learns; the rest of the model does not.

Xu et al. 2021, Raise a child in large language model: towards effective and generalizable fine-tuning (EMNLP, arXiv 2109.05687),
task-driven Child-Tuning. With g the gradient, M = 1 where the Fisher information is among the largest,

    w ← w − η (g ⊙ M)        M fixed

It trains k = share × (entries of all parameters in `at`): the same choice as `fish_mask`, of many entries where that takes few.
"""

from dataclasses import dataclass

from cutaway.tuning import sparse
from cutaway.tuning.method import Method
from cutaway.tuning.methods import fish_mask


@dataclass(frozen=True)
class Options:
    """Of Child-Tuning D."""

    at: tuple[str, ...] = ("layer",)
    """In which parts, as roles or patterns."""
    share: float = 0.3
    """Of their entries, in the child network."""
    samples: int = 1024
    """Examples to choose by; fewer, if there are fewer."""


METHOD = Method(
    name="child_tuning_d",
    kind="partial",
    about="a child network, chosen by Fisher information",
    citation="Xu et al. 2021, Raise a child in large language model (EMNLP, arXiv 2109.05687), Child-Tuning_D",
    options=Options,
    attach=fish_mask.attach,
    count=fish_mask.count,
    attached=sparse.ByFisher,
    mergeable=True,
    needs_data=True,
)
