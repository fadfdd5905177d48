"""Prompt tuning: vectors before what the model reads.

Lester, Al-Rfou & Constant 2021, The power of scale for parameter-efficient prompt tuning (EMNLP, arXiv 2104.08691), §2–2.1:

    model([P; E(x)])        P [n, d] learned, E(x) what the model makes of its tokens

It trains n d parameters. The output is another from the beginning, as P stands there; for encoder-decoders P is before the
encoder's input. What classifies by its first position, as BERT does, reads the first of P there; where words are predicted, the
last of P answers for the first word, and the loss of labels counts that. Through `peft`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from cutaway.tuning.method import Method
from cutaway.tuning.prompts import Prompts, embedded


@dataclass(frozen=True)
class Options:
    """Of prompt tuning."""

    tokens: int = 20
    """n."""
    start: Literal["vocabulary", "random"] = "vocabulary"
    """P at the beginning: what the model makes of tokens that are drawn at random, or small random numbers."""


class Prompt(Prompts):
    """Prompt tuning, by `peft`. Opens the prompts that P-tuning has made, too, as `peft` keeps no more of it than these."""

    config = "PromptTuningConfig"
    names: ClassVar = {"tokens": "num_virtual_tokens"}
    opens: ClassVar = ("PromptEncoderConfig",)

    @classmethod
    def theirs(cls, options: Options) -> dict[str, Any]:
        start = "SAMPLE_VOCAB" if options.start == "vocabulary" else "RANDOM"
        return super().theirs(options) | {"prompt_tuning_init": start, "num_transformer_submodules": 1}


def attach(attached: Prompt, options: Options) -> None:
    attached.give(options, token_dim=embedded(attached.host))


def count(model: nn.Module, options: Options) -> int:
    return options.tokens * embedded(model)


METHOD = Method(
    name="prompt",
    kind="additive",
    about="vectors before what the model reads",
    citation="Lester, Al-Rfou & Constant 2021, Prompt tuning (EMNLP, arXiv 2104.08691), §2",
    options=Options,
    attach=attach,
    count=count,
    attached=Prompt,
    starts_unchanged=False,
)
