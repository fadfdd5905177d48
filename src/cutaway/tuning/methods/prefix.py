"""Prefix tuning: keys and values before those of every layer.

Li & Liang 2021, Prefix-tuning: optimizing continuous prompts for generation (ACL, arXiv 2101.00190), §4:

    softmax(q [P_k; K]ᵀ / √d_h) [P_v; V]        P_k, P_v [n, w] in each of L layers, w the width of its keys

It trains 2 n L w parameters; with `hidden` = h, when a network makes them from vectors of width w while it trains (§4.3),
n w + h (w + 1) + 2 L w (h + 1). The output is another from the beginning, as attention goes to the prefix. For encoder-decoders the
prefix is in the decoder's attention to itself. Through `peft`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from cutaway.core.errors import CutawayError
from cutaway.tuning.method import Method
from cutaway.tuning.prompts import Prompts, cached


@dataclass(frozen=True)
class Options:
    """Of prefix tuning."""

    tokens: int = 20
    """n."""
    hidden: int = 0
    """h: width of the network that makes the prefix; 0 for none."""


class Prefix(Prompts):
    """Prefix tuning, by `peft`. A file of `peft` has what a network has made, and opens without one."""

    config = "PrefixTuningConfig"
    names: ClassVar = {"tokens": "num_virtual_tokens"}
    longer = False

    @classmethod
    def theirs(cls, options: Options) -> dict[str, Any]:
        network = {"prefix_projection": options.hidden > 0, "encoder_hidden_size": options.hidden or None}
        return super().theirs(options) | network

    @classmethod
    def opened(cls, config: Mapping[str, Any], tensors: dict) -> dict:
        return tensors


def attach(attached: Prefix, options: Options) -> None:
    if options.hidden < 0:
        raise CutawayError(f"hidden is {options.hidden}: give the width of a network, or 0 for none")
    layers, heads, width = cached(attached.host)
    attached.give(options, num_layers=layers, num_attention_heads=heads, token_dim=width)


def count(model: nn.Module, options: Options) -> int:
    layers, _, width = cached(model)
    if not options.hidden:
        return 2 * options.tokens * layers * width
    into, out = options.hidden * (width + 1), 2 * layers * width * (options.hidden + 1)
    return options.tokens * width + into + out


METHOD = Method(
    name="prefix",
    kind="additive",
    about="keys and values before those of every layer",
    citation="Li & Liang 2021, Prefix-tuning (ACL, arXiv 2101.00190), §4",
    options=Options,
    attach=attach,
    count=count,
    attached=Prefix,
    starts_unchanged=False,
)
