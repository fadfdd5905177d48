"""LN-Tuning: the gains and biases of the norms, and nothing else.

Zhao et al. 2024, Tuning LayerNorm in attention: towards efficient multi-modal LLM finetuning (ICLR, arXiv 2312.11420), §2; earlier,
Qi et al. 2022, Parameter-efficient tuning on layer normalization for pre-trained language models (arXiv 2211.08682).

It trains as many parameters as the chosen norms have: 2 d for a layer norm, d for one by the root of the mean square. Through
`peft`.
"""

from dataclasses import dataclass

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.through_peft import ThroughPeft, at


@dataclass(frozen=True)
class Options:
    """Of LN-Tuning."""

    at: tuple[str, ...] = ("norm",)
    """Which norms: `norm`, those within layers, or patterns."""


class LNTuning(ThroughPeft):
    """LN-Tuning, by `peft`."""

    config = "LNTuningConfig"


def attach(attached: LNTuning, options: Options) -> None:
    for name in at(attached.host, options.at):
        kind = type(attached.host.get_submodule(name)).__name__
        if "norm" not in kind.lower():
            raise CutawayError(f"{name} is a {kind}, no norm: choose norms, or another method, such as lora")
    attached.give(options)


def count(model: nn.Module, options: Options) -> int:
    return sum(p.numel() for name in at(model, options.at) for p in model.get_submodule(name).parameters())


METHOD = Method(
    name="ln_tuning",
    kind="partial",
    about="the norms of the model",
    citation="Zhao et al. 2024, Tuning LayerNorm in attention (ICLR, arXiv 2312.11420), §2",
    options=Options,
    attach=attach,
    count=count,
    attached=LNTuning,
    mergeable=True,
)
