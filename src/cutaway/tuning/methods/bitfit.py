"""BitFit: the biases that the model has, and nothing else.

Ben Zaken, Ravfogel & Goldberg 2022, BitFit: simple parameter-efficient fine-tuning for transformer-based masked
language-models (ACL, arXiv 2106.10199), §3. It trains as many parameters as the model has biases (of projections and of norms);
with `at` those of some parts alone: the paper's smaller variant is `at=attn_q ffn_up`.
"""

from dataclasses import dataclass

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.attach import Attached
from cutaway.tuning.method import Method
from cutaway.tuning.places import chosen


@dataclass(frozen=True)
class Options:
    """Of BitFit."""

    at: tuple[str, ...] = ()
    """Of which parts, as roles or patterns; all, if none are named."""


def biases(model: nn.Module, options: Options) -> list[str]:
    """Names of the biases that learn; raises `CutawayError` if there are none."""
    inside = [f"{place.name}." for place in chosen(model, options.at)] if options.at else [""]
    found = [name for name, _ in model.named_parameters() if name.endswith("bias") and name.startswith(tuple(inside))]
    if not found:
        raise CutawayError(
            f"{'these parts have' if options.at else 'this model has'} no biases: take another method, such as lora"
        )
    return found


def count(model: nn.Module, options: Options) -> int:
    return sum(model.get_parameter(name).numel() for name in biases(model, options))


def attach(attached: Attached, options: Options) -> None:
    attached.free(biases(attached.host, options))


METHOD = Method(
    name="bitfit",
    kind="partial",
    about="the model's own biases",
    citation="Ben Zaken, Ravfogel & Goldberg 2022, BitFit (ACL, arXiv 2106.10199), §3",
    options=Options,
    attach=attach,
    count=count,
    mergeable=True,
)
