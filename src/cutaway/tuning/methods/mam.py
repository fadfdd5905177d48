"""Mix-and-match adapters: a short prefix in attention, and a wide scaled parallel adapter beside the feed-forward block.

He, Zhou, Ma, Berg-Kirkpatrick & Neubig 2022, Towards a unified view of parameter-efficient transfer learning (ICLR, arXiv
2110.04366), §4.6: with l keys and values of a prefix, and x and h what goes into the feed-forward block and what comes out of it,

    Attn(q, [P_K; K], [P_V; V])
    h ← h + s · (W_up σ(W_down x + b_down) + b_up)        W_up = b_up = 0 at the beginning

It trains 2 l w parameters for each attention, w the width of its keys, and 2 m d + m + d for each feed-forward block. The prefix is
trained as it is, without a network that makes it, and the output is another from the beginning, as attention goes to it.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from cutaway.tuning.attach import Attached
from cutaway.tuning.attention import Prefix, attentions, put_before
from cutaway.tuning.method import Method
from cutaway.tuning.methods import parallel_adapter


@dataclass(frozen=True)
class Options:
    """Of mix-and-match adapters."""

    prefix_at: tuple[str, ...] = ("attn", "cross_attn")
    """In which attention blocks."""
    length: int = 30
    """Of the prefix, l; the paper takes 30 where text is written, 16 for GLUE."""
    at: tuple[str, ...] = ("ffn_down",)
    """Beside which blocks, named by their last projection, is an adapter."""
    width: int = 48
    """Of the adapter, m; the paper takes 512 in models of 1024 dimensions, 16 for GLUE."""
    scale: float = 4.0
    """s; in the authors' settings for GLUE it is 2."""
    activation: Literal["gelu", "relu", "silu"] = "relu"
    """σ."""


def beside(options: Options) -> parallel_adapter.Options:
    """The options of the adapters alone."""
    return parallel_adapter.Options(options.at, options.width, options.scale, options.activation)


def attach(attached: Attached, options: Options) -> None:
    for block in attentions(attached.host, options.prefix_at):
        put_before(attached, block, Prefix(attached, options.length, block.width))
    parallel_adapter.attach(attached, beside(options))


def count(model: nn.Module, options: Options) -> int:
    prefixes = sum(2 * options.length * block.width for block in attentions(model, options.prefix_at))
    return prefixes + parallel_adapter.count(model, beside(options))


METHOD = Method(
    name="mam",
    kind="hybrid",
    about="a short prefix in attention, a scaled parallel adapter beside the feed-forward block",
    citation="He et al. 2022, Towards a unified view of parameter-efficient transfer learning (ICLR, arXiv 2110.04366), §4.6",
    options=Options,
    attach=attach,
    count=count,
    starts_unchanged=False,
)
