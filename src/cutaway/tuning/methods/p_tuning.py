"""P-tuning: vectors before what the model reads, made by a small network while it trains.

Liu et al. 2021, GPT understands, too (arXiv 2103.10385), §3:

    model([P; E(x)])        P = network(Z), Z [n, d] learned

With a perceptron of width h it trains n d + (2 d h + d) + (h² + 2 h) parameters; with k LSTMs in both directions, which a
perceptron follows, n d + 8 h (d + h + 2) + 8 (k − 1) h (3 h + 2) + (4 h² + 2 h) + (2 d h + d). The output is another from the
beginning. Through `peft`, which keeps P on disk; what makes it stands beside it in the file, to train on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.prompts import Prompts, embedded


@dataclass(frozen=True)
class Options:
    """Of P-tuning."""

    tokens: int = 20
    """n."""
    network: Literal["mlp", "lstm"] = "mlp"
    hidden: int = 128
    """h."""
    layers: int = 2
    """k: of the LSTM."""


class PTuning(Prompts):
    """P-tuning, by `peft`."""

    config = "PromptEncoderConfig"
    names: ClassVar = {"tokens": "num_virtual_tokens", "hidden": "encoder_hidden_size"}

    @classmethod
    def theirs(cls, options: Options) -> dict[str, Any]:
        network = {"encoder_reparameterization_type": options.network.upper(), "num_transformer_submodules": 1}
        deep = {"encoder_num_layers": options.layers} if options.network == "lstm" else {}
        return super().theirs(options) | network | deep

    @classmethod
    def ours(cls, config: Mapping[str, Any]) -> None:
        """A file of `peft` has only the vectors, which are a prompt."""
        return None


def attach(attached: PTuning, options: Options) -> None:
    if options.hidden < 1 or options.layers < 1:
        raise CutawayError(f"hidden is {options.hidden}, layers {options.layers}: give at least 1")
    attached.give(options, token_dim=embedded(attached.host))


def count(model: nn.Module, options: Options) -> int:
    d, h = embedded(model), options.hidden
    ends = options.tokens * d + 2 * d * h + d
    if options.network == "mlp":
        return ends + h * h + 2 * h
    return ends + 8 * h * (d + h + 2) + 8 * (options.layers - 1) * h * (3 * h + 2) + 4 * h * h + 2 * h


METHOD = Method(
    name="p_tuning",
    kind="additive",
    about="vectors before what the model reads, made by a network",
    citation="Liu et al. 2021, GPT understands, too (arXiv 2103.10385), §3",
    options=Options,
    attach=attach,
    count=count,
    attached=PTuning,
    starts_unchanged=False,
)
