"""Full fine-tuning: everything that the model has learns. The yardstick for all other methods.

Devlin et al. 2019, BERT (NAACL, arXiv 1810.04805), §3.2. It trains all parameters of the model; with `at` those of some parts.
"""

from dataclasses import dataclass

from torch import nn

from cutaway.tuning.attach import Attached
from cutaway.tuning.method import Method
from cutaway.tuning.places import inside


@dataclass(frozen=True)
class Options:
    """Of full fine-tuning."""

    at: tuple[str, ...] = ()
    """Which parts, as roles or patterns; all, if none are named."""


def attach(attached: Attached, options: Options) -> None:
    attached.free(inside(attached.host, options.at))


def count(model: nn.Module, options: Options) -> int:
    return sum(model.get_parameter(name).numel() for name in inside(model, options.at))


METHOD = Method(
    name="full",
    kind="partial",
    about="everything learns: the yardstick",
    citation="Devlin et al. 2019, BERT (NAACL, arXiv 1810.04805), §3.2",
    options=Options,
    attach=attach,
    count=count,
    mergeable=True,
)
